"""The tables of the ledger: one schema for SQLite and PostgreSQL.

Times are UTC seconds (float). The database repeats what the code promises: one current row per SOP Instance UID, one
job per rule and study revision, one delivery per object and destination.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_UID: Final = String(64)
# SQLite gives row ids only to a column declared INTEGER
_ROW_ID: Final = BigInteger().with_variant(Integer, "sqlite")

associations: Final = Table(
    "associations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("calling", String(16), nullable=False),
    Column("called", String(16), nullable=False),
    Column("address", String(64), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("ended", String(16)),
)
Index(
    "ix_associations_open",
    associations.c.ended_at,
    sqlite_where=associations.c.ended_at.is_(None),
    postgresql_where=associations.c.ended_at.is_(None),
)

refused_senders: Final = Table(
    "refused_senders",
    metadata,
    Column("calling", String(64), primary_key=True),
    Column("called", String(64), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("reason", String(200), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
)

instances: Final = Table(
    "instances",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("sop_instance_uid", _UID, nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("transfer_syntax_uid", _UID, nullable=False),
    Column("series_instance_uid", _UID, nullable=False),
    Column("study_instance_uid", _UID, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("own", Boolean, nullable=False, server_default=false()),
    # False: other bytes under the same UID, kept on disk but not used
    Column("current", Boolean, nullable=False, server_default=true()),
    Column("revision", Integer, nullable=False),
    Column("association_id", String(40), ForeignKey("associations.id"), nullable=False),
    Column("received_at", Float, nullable=False),
    UniqueConstraint("sop_instance_uid", "sha256"),
)
Index(
    "uq_instances_current",
    instances.c.sop_instance_uid,
    unique=True,
    sqlite_where=instances.c.current.is_(True),
    postgresql_where=instances.c.current.is_(True),
)
Index("ix_instances_study", instances.c.study_instance_uid, instances.c.revision)

headers: Final = Table(
    "headers",
    metadata,
    Column("instance_id", _ROW_ID, ForeignKey("instances.id"), primary_key=True),
    Column("header", Text, nullable=False),
)

#: Instances whose header is still to be read; a small table keeps that question cheap at any ledger size.
unread: Final = Table(
    "unread",
    metadata,
    Column("instance_id", _ROW_ID, ForeignKey("instances.id"), primary_key=True),
)

revisions: Final = Table(
    "revisions",
    metadata,
    Column("study_instance_uid", _UID, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("instances", Integer, nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("last_arrival_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("routed_at", Float),
    Column("reason", Text, nullable=False, server_default=""),
    Column("verdicts", Text),
    Column("rules_digest", String(64)),
    Column("rules_version", Integer),
)
Index("ix_revisions_state", revisions.c.state)
# the list of studies is in this order, and a study was received when its first revision was opened
Index("ix_revisions_opened_at", revisions.c.opened_at, revisions.c.study_instance_uid, revisions.c.number)
Index("ix_revisions_closed_at", revisions.c.closed_at, revisions.c.last_arrival_at, revisions.c.instances)
Index("ix_revisions_routed_at", revisions.c.routed_at, revisions.c.closed_at)

#: Which associations carried a revision: completion asks how they ended.
carriers: Final = Table(
    "carriers",
    metadata,
    Column("study_instance_uid", _UID, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("association_id", String(40), ForeignKey("associations.id"), primary_key=True),
)

#: Every text of rules that was in force; the one with the highest number is.
rule_versions: Final = Table(
    "rule_versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("author", String(100), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    # of the rules without comments and layout
    Column("digest", String(64), nullable=False),
    Column("text", Text, nullable=False),
)

#: What each node last saw or wrote in its file of rules: any other content is somebody's edit.
rule_files: Final = Table(
    "rule_files",
    metadata,
    Column("node", String(100), primary_key=True),
    Column("sha256", String(64), nullable=False),
)

#: What rules may ask about a routed revision, gathered: rules are tried on these without the images.
study_facts: Final = Table(
    "study_facts",
    metadata,
    Column("study_instance_uid", _UID, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("received_at", Float, nullable=False),
    Column("facts", LargeBinary, nullable=False),
)
Index("ix_study_facts_received_at", study_facts.c.received_at)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("study_instance_uid", _UID, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("rule", String(200), nullable=False),
    Column("pipeline", String(200), nullable=False),
    Column("settings", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("destinations", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("rules_digest", String(64), nullable=False),
    # of `rule_versions`: the text that made this job
    Column("rules_version", Integer),
    # what the rule says of how it is to be done: JSON of `JobTerms`
    Column("terms", Text, nullable=False, server_default="{}"),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("interruptions", Integer, nullable=False, server_default="0"),
    Column("not_before", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("lease_owner", String(100)),
    Column("lease_until", Float),
    Column("progress", Float, nullable=False, server_default="0"),
    Column("step", String(200), nullable=False, server_default=""),
    Column("seconds", Text),
    UniqueConstraint("study_instance_uid", "revision", "rule"),
)
# `inputs` is long, so what is asked of many jobs at once is in an index, whole
Index("ix_jobs_rule", jobs.c.rule, jobs.c.study_instance_uid)
Index("ix_jobs_state", jobs.c.state, jobs.c.priority, jobs.c.created_at)
Index("ix_jobs_study", jobs.c.study_instance_uid, jobs.c.state)
Index("ix_jobs_pipeline", jobs.c.pipeline, jobs.c.state)
Index("ix_jobs_started_at", jobs.c.started_at, jobs.c.not_before, jobs.c.created_at)
Index("ix_jobs_ended_at", jobs.c.ended_at, jobs.c.started_at, jobs.c.state)

#: Each attempt of a job that ended: how, what it used and what it logged; `number` counts across retries.
job_runs: Final = Table(
    "job_runs",
    metadata,
    Column("job_id", _ROW_ID, ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("seconds", Text, nullable=False, server_default="{}"),
    Column("resources", Text),
    Column("log", Text, nullable=False, server_default="[]"),
)
Index("ix_job_runs_outcome", job_runs.c.outcome, job_runs.c.ended_at)

results: Final = Table(
    "results",
    metadata,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("job_id", _ROW_ID, ForeignKey("jobs.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("transfer_syntax_uid", _UID, nullable=False),
    Column("series_instance_uid", _UID, nullable=False),
    Column("study_instance_uid", _UID, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
)
Index("ix_results_job", results.c.job_id, results.c.kind)

deliveries: Final = Table(
    "deliveries",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("sop_instance_uid", _UID, ForeignKey("results.sop_instance_uid"), nullable=False),
    Column("job_id", _ROW_ID, ForeignKey("jobs.id"), nullable=False),
    Column("destination", String(100), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("status", Integer),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", Float, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("give_up_at", Float, nullable=False),
    Column("started_at", Float),
    Column("delivered_at", Float),
    Column("lease_owner", String(100)),
    Column("lease_until", Float),
    # when to ask the destination whether it still has the object; NULL: nobody is to ask
    Column("prove_at", Float),
    Column("proof_attempts", Integer, nullable=False, server_default="0"),
    Column("proof", String(200), nullable=False, server_default=""),
    Column("proven_at", Float),
    # of the storage commitment request that it was last part of
    Column("transaction_uid", _UID),
    Column("resends", Integer, nullable=False, server_default="0"),
    # since when it waits: since it was made, or since somebody last asked for it
    Column("waiting_since", Float, nullable=False, server_default="0"),
    UniqueConstraint("sop_instance_uid", "destination"),
)
Index("ix_deliveries_state", deliveries.c.state, deliveries.c.destination, deliveries.c.not_before)
Index("ix_deliveries_job_id", deliveries.c.job_id)
Index("ix_deliveries_delivered_at", deliveries.c.delivered_at, deliveries.c.state, deliveries.c.waiting_since)
Index("ix_deliveries_destination", deliveries.c.destination, deliveries.c.state, deliveries.c.delivered_at)
Index("ix_deliveries_prove_at", deliveries.c.destination, deliveries.c.prove_at)
Index("ix_deliveries_transaction_uid", deliveries.c.transaction_uid)

#: Questions to archives: for the priors of a job, or for what is missing of a revision. `wanted` is the rule that
#: asks, `inputs` the paths that it gives to the roles of the job.
fetches: Final = Table(
    "fetches",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("study_instance_uid", _UID, nullable=False),
    Column("revision", Integer, nullable=False),
    # 0: for the revision itself
    Column("job_id", _ROW_ID, nullable=False, server_default="0"),
    Column("archive", String(100), nullable=False),
    Column("wanted", Text, nullable=False),
    Column("inputs", Text, nullable=False, server_default="{}"),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", Float, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("give_up_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("lease_owner", String(100)),
    Column("lease_until", Float),
    UniqueConstraint("study_instance_uid", "revision", "job_id"),
)
Index("ix_fetches_state", fetches.c.state, fetches.c.not_before)
Index("ix_fetches_job_id", fetches.c.job_id)

#: Which studies a fetch asks an archive for as priors, and by which AE title they then come.
prior_studies: Final = Table(
    "prior_studies",
    metadata,
    Column("study_instance_uid", _UID, primary_key=True),
    Column("fetch_id", _ROW_ID, ForeignKey("fetches.id"), primary_key=True),
    Column("calling", String(16), nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("ended_at", Float),
)

#: Studies that a destination has under another patient: both identities, for a person to compare.
conflicts: Final = Table(
    "conflicts",
    metadata,
    Column("study_instance_uid", _UID, primary_key=True),
    Column("destination", String(100), primary_key=True),
    Column("ours", Text, nullable=False),
    Column("theirs", Text, nullable=False),
    Column("noticed_at", Float, nullable=False),
)

#: Requests for storage commitment and their reports; `wanted` is the list of (SOP class, SOP instance).
commitments: Final = Table(
    "commitments",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("transaction_uid", _UID, nullable=False),
    Column("calling", String(64), nullable=False),
    Column("called", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("wanted", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", Float, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("give_up_at", Float, nullable=False),
    Column("delivered_at", Float),
    Column("lease_owner", String(100)),
    Column("lease_until", Float),
    UniqueConstraint("calling", "transaction_uid"),
)
Index("ix_commitments_state", commitments.c.state, commitments.c.not_before)

#: What became of every association; `statuses` counts the C-STORE answers other than success.
association_records: Final = Table(
    "association_records",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("association_id", String(40), nullable=False),
    Column("calling", String(64), nullable=False),
    Column("called", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
    Column("ended", String(16), nullable=False),
    Column("accepted", Text, nullable=False),
    Column("refused", Text, nullable=False),
    Column("kept", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("statuses", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

events: Final = Table(
    "events",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("text", Text, nullable=False),
    Column("study_instance_uid", _UID),
    Column("job_id", _ROW_ID),
    Column("association_id", String(40)),
    # of an attempt to deliver: whose it was
    Column("delivery_id", _ROW_ID),
)
Index("ix_events_study", events.c.study_instance_uid)
Index("ix_events_job", events.c.job_id)
