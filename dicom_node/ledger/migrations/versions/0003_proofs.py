"""Deliveries that are proven, and studies that a destination has under another patient."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    for column in (
        sa.Column("prove_at", sa.Float(), nullable=True),
        sa.Column("proof_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("proof", sa.String(length=200), server_default="", nullable=False),
        sa.Column("proven_at", sa.Float(), nullable=True),
        sa.Column("transaction_uid", sa.String(length=64), nullable=True),
        sa.Column("resends", sa.Integer(), server_default="0", nullable=False),
    ):
        op.add_column("deliveries", column)
    op.create_index("ix_deliveries_prove_at", "deliveries", ["destination", "prove_at"], unique=False)
    op.create_index("ix_deliveries_transaction_uid", "deliveries", ["transaction_uid"], unique=False)
    op.create_table(
        "conflicts",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=100), nullable=False),
        sa.Column("ours", sa.Text(), nullable=False),
        sa.Column("theirs", sa.Text(), nullable=False),
        sa.Column("noticed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", "destination", name=op.f("pk_conflicts")),
    )


def downgrade() -> None:
    """Take the schema back to the revision before."""
    op.drop_table("conflicts")
    op.drop_index("ix_deliveries_transaction_uid", table_name="deliveries")
    op.drop_index("ix_deliveries_prove_at", table_name="deliveries")
    with op.batch_alter_table("deliveries") as batch:
        for name in ("resends", "transaction_uid", "proven_at", "proof", "proof_attempts", "prove_at"):
            batch.drop_column(name)
