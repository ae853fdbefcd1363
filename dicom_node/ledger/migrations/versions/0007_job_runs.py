"""What each attempt of a job used and logged, and which delivery an event is about."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "job_runs",
        sa.Column("job_id", _ROW_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("seconds", sa.Text(), server_default="{}", nullable=False),
        sa.Column("resources", sa.Text(), nullable=True),
        sa.Column("log", sa.Text(), server_default="[]", nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_runs_job_id")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_job_runs")),
    )
    op.add_column("events", sa.Column("delivery_id", _ROW_ID, nullable=True))


def downgrade() -> None:
    """Take the schema back to the revision before."""
    op.drop_column("events", "delivery_id")
    op.drop_table("job_runs")
