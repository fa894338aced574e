"""add indexes for descending orders of columns in which many deals share a value

A page sorted by `-discount_percent` has its ties in ascending order of id. The ascending index read
backwards has them in descending order, so PostgreSQL would sort all deals of the first value for
one page.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Few deals share a price or a creation time. Sorting those costs next to nothing.
COLUMNS = ("star_rating", "discount_percent", "checkin_date")


def upgrade() -> None:
    for column in COLUMNS:
        op.execute(f"CREATE INDEX ix_deals_{column}_desc_id ON deals ({column} DESC, id)")


def downgrade() -> None:
    for column in COLUMNS:
        op.execute(f"DROP INDEX ix_deals_{column}_desc_id")
