"""The tables of those who look at a node: accounts, sessions, tokens, the audit trail, and the list of studies."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text, false

from dicom_node.ledger.schema import metadata

_UID: Final = String(64)
_DIGEST: Final = String(64)
_NAME: Final = String(64)
# SQLite gives row ids only to a column declared INTEGER
_ROW_ID: Final = BigInteger().with_variant(Integer, "sqlite")

#: What the list of studies shows and searches of each study, as its headers are read; `search` is in small letters.
study_cards: Final = Table(
    "study_cards",
    metadata,
    Column("study_instance_uid", _UID, primary_key=True),
    Column("patient_name", Text, nullable=False),
    Column("patient_id", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("study_date", String(8), nullable=False),
    Column("study_description", Text, nullable=False),
    # "|CT|MR|": a modality is asked for with its bars
    Column("modalities", Text, nullable=False),
    Column("sender", String(64), nullable=False),
    Column("search", Text, nullable=False),
    # when its first revision was opened
    Column("received_at", Float, nullable=False, server_default="0"),
)
Index("ix_study_cards_sender", study_cards.c.sender, study_cards.c.received_at)

accounts: Final = Table(
    "accounts",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("locked_until", Float),
    Column("last_log_in_at", Float),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    # of somebody whom an OpenID provider vouches for: SHA-256 over issuer and subject; they have no password here
    Column("openid", _DIGEST),
)
Index("ix_accounts_openid", accounts.c.openid, unique=True)

#: Of a session's secret, which only the browser has, the digest is kept.
sessions: Final = Table(
    "sessions",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("account", _NAME, ForeignKey("accounts.name", ondelete="CASCADE"), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("address", String(64), nullable=False),
)
Index("ix_sessions_account", sessions.c.account)

#: Programs that use the API; of a token, which is shown once, the digest is kept.
tokens: Final = Table(
    "tokens",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("digest", _DIGEST, nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", _NAME, nullable=False),
    Column("expires_at", Float),
    Column("used_at", Float),
)

#: Who did what when, and what was there before and after (JSON).
audit: Final = Table(
    "audit",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("at", Float, nullable=False),
    Column("who", _NAME, nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("study_instance_uid", _UID),
)
Index("ix_audit_study_instance_uid", audit.c.study_instance_uid)

#: Destinations that somebody has told to wait.
pauses: Final = Table(
    "pauses",
    metadata,
    Column("destination", String(100), primary_key=True),
    Column("who", _NAME, nullable=False),
    Column("at", Float, nullable=False),
)

#: What somebody is to be told once: open from when it was noticed until it is over.
alerts: Final = Table(
    "alerts",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("text", Text, nullable=False),
    Column("since", Float, nullable=False),
    # when somebody was told; NULL: nobody could be, it is tried again
    Column("told_at", Float),
)

#: Up to which line of the trail a collector of audit messages has been sent it.
audit_sent: Final = Table(
    "audit_sent",
    metadata,
    Column("collector", String(200), primary_key=True),
    Column("audit_id", _ROW_ID, nullable=False),
)
