"""Rules as numbered versions with author and reason, the terms of a job, and facts on which rules can be tried."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision; texts that were in force keep their order."""
    old = sa.text("SELECT digest, text, loaded_at FROM rule_versions ORDER BY loaded_at, digest")
    rows = op.get_bind().execute(old).all()
    op.drop_table("rule_versions")
    versions = op.create_table(
        "rule_versions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("author", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rule_versions")),
    )
    kept = [
        {"number": number, "at": row.loaded_at, "author": "rules.toml", "digest": row.digest, "text": row.text}
        for number, row in enumerate(rows, 1)
    ]
    if kept:
        op.bulk_insert(versions, kept)
    op.create_table(
        "rule_files",
        sa.Column("node", sa.String(length=100), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_rule_files")),
    )
    op.create_table(
        "study_facts",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", "revision", name=op.f("pk_study_facts")),
    )
    op.create_index("ix_study_facts_received_at", "study_facts", ["received_at"], unique=False)
    op.add_column("revisions", sa.Column("rules_version", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("rules_version", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("terms", sa.Text(), server_default="{}", nullable=False))


def downgrade() -> None:
    """Take the schema back to the revision before; authors and reasons are lost."""
    op.drop_column("jobs", "terms")
    op.drop_column("jobs", "rules_version")
    op.drop_column("revisions", "rules_version")
    op.drop_index("ix_study_facts_received_at", "study_facts")
    op.drop_table("study_facts")
    op.drop_table("rule_files")
    op.drop_table("rule_versions")
    op.create_table(
        "rule_versions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("loaded_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_rule_versions")),
    )
