"""add warnings about loaded rows to import chunks

A chunk's warnings map codes to numbers of rows, as in {"surplus_empty_fields": 3}.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE import_chunks ADD COLUMN warnings jsonb NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.execute("ALTER TABLE import_chunks DROP COLUMN warnings")
