"""add the job queue: the tables, types and functions of procrastinate

This revision runs the library's own schema script, as of the installed version. It does not run the
library's numbered migrations, because PostgreSQL 16 cannot run them in one transaction: a new value
of an enum cannot be used before a commit. A later revision that runs one of those migrations must
therefore first check whether this script has already made its change.

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
    """Run a script of many statements as one statement, with its colons escaped."""
    one = f"DO $run$ BEGIN EXECUTE $script${script}$script$; END $run$"
    op.execute(one.replace(":", r"\:"))


# The library has no script that removes its schema. All its objects have the library's prefix.
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
