"""imports.retry_at: when an import whose attempt has failed is tried again

Until then it has no job, so that it holds up no other import. The time counts only while the import
is queued. No constraint says so, because the workers of the last release do not know the column.

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
