"""jobs: the tables, types and functions of procrastinate

It is the library's own schema, as of the installed version. Its numbered migrations would be the
history of it, but PostgreSQL 16 does not run them in one transaction (an enum's new value cannot
be used before a commit). So a later revision that runs one of those migrations must ask first
whether this one has brought its result already.

Revision ID: 0011
Revises: 0010
"""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _run(SchemaManager.get_schema())


def downgrade() -> None:
    _run(_DROP)


def _run(script: str) -> None:
    """Many statements as one, which is what drivers take; a colon is no parameter's."""
    one = f"DO $run$ BEGIN EXECUTE $script${script}$script$; END $run$"
    op.execute(one.replace(":", r"\:"))


# Everything has the library's prefix; it has no script of its own for this.
_DROP = """
DROP TABLE procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs,
    procrastinate_workers CASCADE;
DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN
        SELECT oid FROM pg_proc
        WHERE proname LIKE 'procrastinate\\_%' AND pronamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('DROP FUNCTION %s', routine);
    END LOOP;
END
$$;
DROP TYPE procrastinate_job_to_defer_v1, procrastinate_job_event_type, procrastinate_job_status
"""
