"""Accounts that an OpenID provider vouches for."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.add_column("accounts", sa.Column("openid", sa.String(length=64), nullable=True))
    op.create_index("ix_accounts_openid", "accounts", ["openid"], unique=True)


def downgrade() -> None:
    """Take the schema back to the revision before."""
    op.drop_index("ix_accounts_openid", table_name="accounts")
    op.drop_column("accounts", "openid")
