"""add imports.retry_at, the time of the next attempt after a failed one

Until that time the import has no job, so that it blocks no other import. The column is meaningful
only while the import is queued. No constraint enforces that, because the workers of the previous
release do not know the column.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE imports ADD COLUMN retry_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE imports DROP COLUMN retry_at")
