"""Databases with real problems, on both versions of PostgreSQL, and the doctor's findings."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import URL
from tests.doctor.states import Connection, connect, diagnose, execute_script, select_findings
from tests.support.databases import as_text, temporary_database
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.db.migrations import head_revision, upgrade_async
from app.doctor.findings import SEVERITIES, Finding
from app.doctor.rules import indexes, locks, sessions, work

pytestmark = pytest.mark.integration

CHECKS = {
    "cache", "clock", "connections", "disk", "idle", "imports", "indexes", "jobs", "locks",
    "numbers", "pools", "prepared", "queries", "schema", "server", "settings", "sizes", "slots",
    "statistics", "vacuum", "workers", "wraparound",
}  # fmt: skip


# The pause lets the waiting session reach the lock.
WAITS_FOR_LOCK = """
    SELECT pg_sleep(0.01) IS NOT NULL AND EXISTS (
        SELECT FROM pg_locks WHERE pid = $1 AND NOT granted
    )
"""


def titles(findings: list[Finding]) -> str:
    return "\n".join(f"{one.severity} {one.check}: {one.title}" for one in findings)


class TestHealthyDatabase:
    async def test_only_test_settings_are_reported(
        self, url: URL, settings: Settings, tmp_path: Path
    ) -> None:
        findings = await diagnose(url, settings.model_copy(update={"data_dir": tmp_path}))

        assert {one.check for one in findings} == CHECKS
        bad = [one for one in findings if one.severity == "problem"]
        # The tests' server runs without fsync.
        assert {one.evidence["setting"] for one in bad} == {"fsync", "full_page_writes"}, titles(
            bad
        )
        assert [one.severity for one in findings] == sorted(
            (one.severity for one in findings), key=SEVERITIES.index
        )
        (numbers,) = select_findings(findings, "numbers", "fine")
        assert numbers.remedy == "deals verify"
        assert "no worker is alive" in select_findings(findings, "workers")[0].title
        assert not select_findings(findings, "clock")
        assert not select_findings(findings, "server")


class TestSchema:
    async def test_empty_database_suggests_migrate(
        self, version_url: URL, settings: Settings
    ) -> None:
        async with temporary_database(version_url) as empty:
            findings = await diagnose(empty, settings)

        (schema,) = select_findings(findings, "schema")
        assert (schema.severity, schema.remedy) == ("problem", "deals migrate")
        assert select_findings(findings, "workers")[0].severity == "unknown"
        assert select_findings(findings, "sizes", "fine")[0].title == "the database has no tables"

    async def test_older_or_newer_revision_is_reported(
        self, version_url: URL, settings: Settings
    ) -> None:
        async with temporary_database(version_url) as old:
            await upgrade_async(as_text(old), "0009")
            (behind,) = select_findings(await diagnose(old, settings), "schema")
            await execute_script(old, "UPDATE alembic_version SET version_num = '9999'")
            (newer,) = select_findings(await diagnose(old, settings), "schema")

        assert behind.evidence == {"database": "0009", "code": head_revision()}
        assert (behind.severity, behind.remedy) == ("problem", "deals migrate")
        assert "revisions behind" in behind.title
        assert "newer than this code: it is at 9999" in newer.title


class TestIndexes:
    async def test_dropped_index_is_reported_with_its_scans(
        self, url: URL, settings: Settings
    ) -> None:
        dropped = "ix_deals_room_type_id"
        await execute_script(url, f"DROP INDEX {dropped}")
        asking = "SELECT count(*) FROM deals WHERE room_type = 'none'"
        await execute_script(url, "SELECT pg_stat_reset()")
        await execute_script(url, ";\n".join([asking] * 120))

        findings = select_findings(await diagnose(url, settings), "indexes")

        missing, scans = findings
        assert missing.severity == scans.severity == "problem"
        assert missing.evidence == {"index": dropped, "table": "deals", "rows": 12_000}
        assert missing.remedy == f"CREATE INDEX CONCURRENTLY {dropped} ON deals (room_type, id);"
        assert scans.evidence["seq_scan"] == 120
        assert scans.evidence["rows_a_scan"] == 12_000
        assert "scans of deals (12,000 rows) read the whole table" in scans.title

        await execute_script(url, missing.remedy)
        await execute_script(url, "SELECT pg_stat_reset()")
        assert not select_findings(await diagnose(url, settings), "indexes")

    async def test_duplicate_index_is_reported(self, url: URL, settings: Settings) -> None:
        await execute_script(url, 'CREATE INDEX "tw in" ON deals (room_type, id)')
        # A key covers this index as well. Another order or another condition makes a different
        # index.
        await execute_script(url, "CREATE INDEX second_key ON deals (id)")
        await execute_script(url, "CREATE INDEX other ON deals (room_type DESC, id)")
        await execute_script(url, "CREATE INDEX half ON deals (room_type) WHERE is_available")
        await execute_script(
            url, "CREATE INDEX lower ON deals (lower(room_type)) WHERE star_rating > 3"
        )
        await execute_script(
            url, "CREATE  INDEX  lower_2 ON deals (lower(room_type)) WHERE star_rating > 3"
        )
        await execute_script(
            url, "CREATE INDEX lower_3 ON deals (lower(room_type)) WHERE star_rating > 4"
        )

        found = select_findings(await diagnose(url, settings), "indexes")

        lower, key, twin = sorted(found, key=lambda one: str(one.evidence["index"]))
        assert (lower.evidence["index"], lower.evidence["same_as"]) == ("lower_2", "lower")
        assert twin.evidence["same_as"] == "ix_deals_room_type_id"
        assert twin.remedy == 'DROP INDEX CONCURRENTLY "public"."tw in";'
        assert (key.evidence["index"], key.evidence["same_as"]) == ("second_key", "pk_deals")
        await execute_script(url, twin.remedy)
        await execute_script(url, key.remedy)
        await execute_script(url, lower.remedy)
        assert not select_findings(await diagnose(url, settings), "indexes")

    async def test_invalid_index_is_reported(self, url: URL, settings: Settings) -> None:
        with pytest.raises(asyncpg.UniqueViolationError):
            await execute_script(url, "CREATE UNIQUE INDEX CONCURRENTLY once ON deals (room_type)")

        (invalid,) = select_findings(await diagnose(url, settings), "indexes")

        assert (invalid.severity, invalid.evidence["index"]) == ("problem", "once")
        assert invalid.remedy == 'REINDEX INDEX CONCURRENTLY "public"."once";'

    async def test_unused_index_is_reported(
        self, url: URL, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await execute_script(
            url, "CREATE INDEX idle ON deals (md5(id::text), md5(id::text || 'x'))"
        )
        asking = "SELECT FROM deals WHERE id = 1"
        await execute_script(url, ";\n".join([asking] * indexes.UNUSED_TABLE_SCANS))

        (early,) = select_findings(await diagnose(url, settings), "indexes", "fine")
        monkeypatch.setattr(indexes, "UNUSED_DAYS", 0.0)
        (unused,) = select_findings(await diagnose(url, settings), "indexes")

        assert "too early to tell" in early.title
        assert "idle" in str(early.evidence["indexes"])
        assert unused.severity == "warning"
        assert "has not been used since 20" in unused.title
        assert unused.remedy == 'DROP INDEX CONCURRENTLY "public"."idle";'

    async def test_foreign_key_without_index_is_reported(
        self, url: URL, settings: Settings
    ) -> None:
        await execute_script(
            url,
            "CREATE TABLE notes AS SELECT id AS deal_id FROM deals;\n"
            "ALTER TABLE notes ADD FOREIGN KEY (deal_id) REFERENCES deals;\nANALYZE notes",
        )

        (key,) = select_findings(await diagnose(url, settings), "indexes")

        assert key.remedy == 'CREATE INDEX CONCURRENTLY ON "public"."notes" (deal_id);'
        await execute_script(url, key.remedy)
        assert not select_findings(await diagnose(url, settings), "indexes")


class TestTables:
    async def test_dead_rows_and_missing_statistics_are_reported(
        self, url: URL, settings: Settings
    ) -> None:
        await execute_script(
            url,
            "CREATE TABLE heap (n int) WITH (autovacuum_enabled = off);\n"
            "INSERT INTO heap SELECT generate_series(1, 20000);\n"
            "UPDATE heap SET n = n + 1",
        )

        findings = await diagnose(url, settings)

        dead, off = select_findings(findings, "vacuum")
        assert (dead.severity, dead.evidence["dead"]) == ("problem", 20_000)
        assert dead.evidence["dead_ratio"] == 0.5
        assert off.remedy == 'ALTER TABLE "public"."heap" RESET (autovacuum_enabled);'
        (statistics,) = select_findings(findings, "statistics")
        assert "heap was never analyzed" in statistics.title

        await execute_script(url, dead.remedy)
        await execute_script(url, off.remedy)
        findings = await diagnose(url, settings)
        assert not select_findings(findings, "vacuum")
        assert not select_findings(findings, "statistics")


@asynccontextmanager
async def blocked_sessions(blocker: Connection, url: URL, count: int) -> AsyncIterator[list[int]]:
    """Open sessions that wait in a chain for a row that the blocker has locked."""
    change = "UPDATE hotels SET country = 'Elsewhere' WHERE id = 1"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(blocker.transaction())
        await blocker.execute(change)
        waiting: list[asyncio.Task[str]] = []
        pids = []
        for _ in range(count):
            connection = await connect(url)
            stack.push_async_callback(connection.close)
            waiting.append(asyncio.create_task(connection.execute(change)))
            pids.append(connection.get_server_pid())
            await wait_for(
                partial(blocker.fetchval, WAITS_FOR_LOCK, pids[-1]), "the session waits for a lock"
            )
        yield pids
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


class TestSessions:
    async def test_idle_in_transaction_is_reported(
        self,
        url: URL,
        client_connection: Connection,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pid = client_connection.get_server_pid()
        async with client_connection.transaction():
            await client_connection.execute("UPDATE hotels SET city = 'Ghost town' WHERE id = 1")
            assert not select_findings(await diagnose(url, settings), "idle")

            monkeypatch.setattr(sessions, "IDLE_WARNING", 0.0)
            (idle,) = select_findings(await diagnose(url, settings), "idle")

        assert idle.severity == "warning"
        assert idle.evidence["pid"] == pid
        assert idle.evidence["application"] == "somebody"
        assert "Ghost town" in str(idle.evidence["query"])
        assert idle.remedy == f"deals doctor --kill {pid}"

    async def test_blocking_session_is_reported_with_blocked_pids(
        self,
        url: URL,
        client_connection: Connection,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(locks, "WAIT_WARNING", 0.0)
        pid = client_connection.get_server_pid()
        async with blocked_sessions(client_connection, url, 3) as pids:
            (lock,) = select_findings(await diagnose(url, settings), "locks")

        assert lock.severity == "problem"
        assert f"pid {pid} (somebody, user " in lock.title
        assert "idle in transaction) blocks 3 sessions" in lock.title
        assert sorted(str(lock.evidence["waiting_pids"]).split(", ")) == sorted(map(str, pids))
        assert (
            lock.evidence["waiting_query"] == "UPDATE hotels SET country = 'Elsewhere' WHERE id = 1"
        )
        assert lock.remedy == f"deals doctor --kill {pid}"

    async def test_long_statement_is_reported(
        self, url: URL, client_connection: Connection, settings: Settings
    ) -> None:
        long = asyncio.create_task(client_connection.execute("SELECT pg_sleep(60)"))
        impatient = settings.model_copy(update={"db_statement_timeout": 0.001})
        findings: list[Finding] = []
        while not findings:
            findings = select_findings(await diagnose(url, impatient), "queries")
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)

        (query,) = findings
        assert (query.severity, query.evidence["query"]) == ("warning", "SELECT pg_sleep(60)")

    async def test_connection_limit_is_reported(
        self, url: URL, client_connection: Connection, settings: Settings
    ) -> None:
        await execute_script(url, f'ALTER DATABASE "{url.database}" CONNECTION LIMIT 2')

        findings = await diagnose(url, settings, processes=4)

        (full,) = select_findings(findings, "connections")
        assert (full.severity, full.title) == ("problem", "2 of 2 connections are in use")
        assert full.evidence["somebody (idle)"] == 1
        (pools,) = select_findings(findings, "pools")
        assert pools.severity == "problem"
        assert pools.evidence["wanted"] == 4 * (2 * (5 + 10) + 3 + 2 + 1) + 12
        assert "CONNECTION LIMIT 166" in pools.remedy


class TestBackgroundWork:
    async def test_old_jobs_dead_workers_and_orphaned_imports_are_reported(
        self, url: URL, settings: Settings
    ) -> None:
        await execute_script(
            url,
            """
            INSERT INTO imports (
                strict, dry_run, object_name, bytes_total, sha256, created_by, state
            )
            SELECT false, false, 'x', 1, sha256('x'), 'test', state
            FROM unnest(ARRAY['running', 'queued', 'queued']) AS state;
            UPDATE imports SET created_at = now() - interval '2 hours';
            INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour');
            SELECT procrastinate_defer_jobs_v1(ARRAY[
                ROW('deals', 'load_import', 0, NULL, NULL, '{"import_id": 1}', NULL),
                ROW('deals', 'load_import', 0, NULL, NULL, '{"import_id": 2}', NULL)
            ]::procrastinate_job_to_defer_v1[]);
            UPDATE procrastinate_jobs SET status = 'doing', worker_id = 1 WHERE id = 1;
            UPDATE procrastinate_events SET at = now() - interval '2 hours'
            """,
        )

        findings = await diagnose(url, settings)

        nobody, dead = select_findings(findings, "workers")
        assert (nobody.severity, nobody.remedy) == ("problem", "deals worker")
        assert nobody.title == "no worker is alive, and 2 jobs wait"
        assert re.search(
            r"worker 1 is dead or hangs: its last heartbeat was 6\d\.\d min ago", dead.title
        )
        assert dead.evidence["jobs"] == 1
        (jobs,) = select_findings(findings, "jobs")
        assert (jobs.severity, jobs.evidence["oldest_task"]) == ("problem", "load_import")
        assert jobs.title == "1 jobs wait, the oldest (load_import) for 2.0 h"
        lost, forgotten = select_findings(findings, "imports")
        assert "import 1 is running, but no worker processes it: its worker is dead" in lost.title
        assert "import 3 is queued, but no worker processes it: it has no job" in forgotten.title

    async def test_recent_job_with_live_worker_is_ok(self, url: URL, settings: Settings) -> None:
        await execute_script(
            url,
            """
            INSERT INTO procrastinate_workers DEFAULT VALUES;
            SELECT procrastinate_defer_jobs_v1(ARRAY[
                ROW('deals', 'keep_house', 0, NULL, NULL, '{}', NULL),
                ROW('deals', 'keep_house', 0, NULL, NULL, '{}', now() + interval '1 hour')
            ]::procrastinate_job_to_defer_v1[])
            """,
        )

        findings = await diagnose(url, settings)

        assert not [
            *select_findings(findings, "workers"),
            *select_findings(findings, "jobs"),
            *select_findings(findings, "imports"),
        ]
        (jobs,) = select_findings(findings, "jobs", "fine")
        assert (jobs.evidence["due"], jobs.evidence["later"]) == (1, 1)
        assert work.WAITING_WARNING > float(str(jobs.evidence["oldest_seconds"])) >= 0


class TestReplicationSlots:
    async def test_unused_replication_slot_is_reported(self, url: URL, settings: Settings) -> None:
        name = f"test_{uuid4().hex}"
        await execute_script(url, f"SELECT pg_create_physical_replication_slot('{name}', true)")
        try:
            slots = select_findings(await diagnose(url, settings), "slots")
        finally:
            await execute_script(url, f"SELECT pg_drop_replication_slot('{name}')")

        assert [slot.remedy for slot in slots if slot.evidence["slot"] == name] == [
            f"SELECT pg_drop_replication_slot('{name}');"
        ]
