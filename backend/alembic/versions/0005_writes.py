"""add the version of hotels and ensure_categories() for writes through the API

Hotels get a version for optimistic locking, as deals have. `ensure_categories()` turns category
names into ids and creates missing categories, so that one statement writes a deal with categories.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE hotels ADD COLUMN version_id integer NOT NULL DEFAULT 1")
    op.execute(
        """
        CREATE OR REPLACE FUNCTION touch_hotel() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.updated_at := now();
            IF NEW.version_id = OLD.version_id THEN
                NEW.version_id := OLD.version_id + 1;
            END IF;
            RETURN NEW;
        END
        $$
        """
    )
    # Nearly all names exist. They cost a look-up and no lock that another writer could wait for.
    # The look-up after the insert sees categories that a concurrent writer has created meanwhile.
    op.execute(
        """
        CREATE FUNCTION ensure_categories(names text[]) RETURNS SETOF bigint
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        DECLARE
            wanted text[] := ARRAY(SELECT DISTINCT lower_case(btrim(n)) FROM unnest(names) AS n);
        BEGIN
            IF (SELECT count(*) FROM categories WHERE name = ANY (wanted))
                < cardinality(wanted)
            THEN
                INSERT INTO categories (name)
                SELECT new.name FROM unnest(wanted) AS new (name)
                WHERE NOT EXISTS (SELECT FROM categories WHERE categories.name = new.name)
                ORDER BY new.name
                ON CONFLICT DO NOTHING;
            END IF;
            RETURN QUERY SELECT id FROM categories WHERE name = ANY (wanted) ORDER BY id;
        END
        $$
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION ensure_categories(text[])")
    op.execute(
        """
        CREATE OR REPLACE FUNCTION touch_hotel() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.updated_at := now();
            RETURN NEW;
        END
        $$
        """
    )
    op.execute("ALTER TABLE hotels DROP COLUMN version_id")
