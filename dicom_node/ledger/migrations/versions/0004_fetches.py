"""Questions to archives, and the studies that came as priors."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "fetches",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("job_id", _ROW_ID, server_default="0", nullable=False),
        sa.Column("archive", sa.String(length=100), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), server_default="{}", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("not_before", sa.Float(), nullable=False),
        sa.Column("give_up_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("lease_owner", sa.String(length=100), nullable=True),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fetches")),
        sa.UniqueConstraint(
            "study_instance_uid", "revision", "job_id", name=op.f("uq_fetches_study_instance_uid_revision_job_id")
        ),
    )
    op.create_index("ix_fetches_state", "fetches", ["state", "not_before"], unique=False)
    op.create_index("ix_fetches_job_id", "fetches", ["job_id"], unique=False)
    op.create_table(
        "prior_studies",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("fetch_id", _ROW_ID, nullable=False),
        sa.Column("calling", sa.String(length=16), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["fetch_id"], ["fetches.id"], name=op.f("fk_prior_studies_fetch_id_fetches")),
        sa.PrimaryKeyConstraint("study_instance_uid", "fetch_id", name=op.f("pk_prior_studies")),
    )


def downgrade() -> None:
    """Take the schema back to the revision before."""
    op.drop_table("prior_studies")
    op.drop_index("ix_fetches_job_id", table_name="fetches")
    op.drop_index("ix_fetches_state", table_name="fetches")
    op.drop_table("fetches")
