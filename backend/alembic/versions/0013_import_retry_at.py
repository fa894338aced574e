"""imports.retry_at: when an import whose attempt has failed is tried again

Until then it has no job, so that it holds up no other import.

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
    op.execute(
        """
        ALTER TABLE imports ADD CONSTRAINT ck_imports_retry_at
        CHECK (retry_at IS NULL OR state = 'queued')
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE imports DROP COLUMN retry_at")
