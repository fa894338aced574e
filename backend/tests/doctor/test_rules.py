"""Thresholds of the rules, with rows as a server returns them."""

import shutil
from datetime import timedelta
from typing import Any

import pytest
from tests.doctor.factories import (
    GB,
    NOW,
    make_activity,
    make_age,
    make_connections,
    make_context,
    make_foreign_key,
    make_import,
    make_index,
    make_prepared,
    make_queue,
    make_server,
    make_session,
    make_setting,
    make_settings,
    make_slot,
    make_table,
    make_waiting,
    make_worker,
)

from app.doctor.catalog_rows import Waiting
from app.doctor.connection import Answer, Target
from app.doctor.context import memory_here
from app.doctor.findings import MAX_FINDINGS, Finding, bounded, by_severity, duration, size
from app.doctor.questions.tables import declared_indexes
from app.doctor.rules import indexes, locks, server, sessions, tables, work
from app.doctor.rules import settings as rules

pytestmark = pytest.mark.unit

TARGET = Target(("db:5432",), "deals", "deals")


def severities(findings: list[Finding]) -> list[str]:
    return [finding.severity for finding in findings]


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value", "severity"),
        [
            ("fsync", "off", "problem"),
            ("full_page_writes", "off", "problem"),
            ("autovacuum", "off", "problem"),
            ("track_counts", "off", "problem"),
            ("default_transaction_read_only", "on", "problem"),
            ("synchronous_commit", "off", "warning"),
            ("jit", "on", "fine"),
            ("statement_timeout", "0", "fine"),
        ],
    )
    def test_wrong_value_is_reported(self, name: str, value: str, severity: str) -> None:
        (finding,) = rules.single(make_settings(**{name: value}), standby=False)

        assert finding.severity == severity
        assert finding.remedy.startswith(f"ALTER SYSTEM SET {name} = ")
        assert rules.single(make_settings(), standby=False) == []

    def test_standby_may_be_read_only_and_pending_restart_is_warned(self) -> None:
        read_only = make_settings(default_transaction_read_only="on")
        read_only["jit"] = make_setting("jit", "off", pending_restart=True)

        (pending,) = rules.single(read_only, standby=True)

        assert (pending.severity, pending.evidence["settings"]) == ("warning", "jit")

    @pytest.mark.parametrize(
        ("buffers", "memory", "database", "severity"),
        [
            (4 * GB, 16 * GB, 100 * GB, "fine"),
            (GB // 8, 16 * GB, 100 * GB, "warning"),
            # The whole database fits into shared_buffers.
            (GB // 8, 16 * GB, GB // 10, "fine"),
            (12 * GB, 16 * GB, 100 * GB, "warning"),
            (GB // 8, None, 100 * GB, "fine"),
        ],
    )
    def test_shared_buffers_are_compared_with_memory(
        self, buffers: int, memory: int | None, database: int, severity: str
    ) -> None:
        (finding,) = rules.sizes(make_settings(shared_buffers=buffers // 8192), memory, database)

        assert finding.severity == severity
        if severity == "warning":
            assert "shared_buffers = '4096MB'" in finding.remedy
        assert ("not known" in finding.title) is (memory is None)

    def test_high_work_mem_and_random_page_cost_are_warned(self) -> None:
        much = rules.sizes(make_settings(work_mem=512 * 1024), 16 * GB, GB)
        turning = rules.sizes(make_settings(random_page_cost=4), 16 * GB, 2 * GB)
        small = rules.sizes(make_settings(random_page_cost=4), 16 * GB, GB // 2)

        assert severities(much) == ["fine", "warning"]
        assert "SET work_mem = '41943kB'" in much[1].remedy
        assert severities(turning) == ["fine", "warning"]
        assert severities(small) == ["fine", "fine"]

    def test_pools_beyond_connection_limits_are_reported(self) -> None:
        two = make_context(processes=2)
        five = make_context(processes=5)

        assert severities(rules.capacity(make_settings(), make_server(), two)) == ["fine"]
        (many,) = rules.capacity(make_settings(), make_server(), five)
        assert many.evidence["wanted"] == 5 * 36 + 12
        assert "max_connections = '202'" in many.remedy
        assert "DB_POOL_SIZE=5 DB_MAX_OVERFLOW=0" in many.advice
        (limited,) = rules.capacity(make_settings(), make_server(role_limit=20), make_context())
        assert limited.remedy == 'ALTER ROLE "deals" CONNECTION LIMIT 58;'
        (narrow,) = rules.capacity(make_settings(), make_server(database_limit=20), make_context())
        assert narrow.remedy == 'ALTER DATABASE "shop" CONNECTION LIMIT 58;'


class TestSessions:
    @pytest.mark.parametrize(
        ("count", "severity"), [(77, "fine"), (78, "warning"), (93, "problem")]
    )
    def test_connection_count_sets_severity(self, count: int, severity: str) -> None:
        found = [make_connections(count=count)]

        assert severities(sessions.connections(found, make_settings(), make_server())) == [severity]

    @pytest.mark.parametrize(("idle", "severity"), [(9, "fine"), (10, "warning"), (60, "problem")])
    def test_idle_in_transaction_sets_severity(self, idle: float, severity: str) -> None:
        found = [make_session(state="idle in transaction", state_seconds=idle)]

        assert severities(sessions.idle_in_transaction(found)) == [severity]

    @pytest.mark.parametrize(
        ("seconds", "severity"), [(10, "fine"), (10.1, "warning"), (3600, "problem")]
    )
    def test_long_statement_sets_severity(self, seconds: float, severity: str) -> None:
        found = [make_session(query_seconds=seconds)]

        assert severities(sessions.running(found, 10.0)) == [severity]

    @pytest.mark.parametrize(
        ("seconds", "severity"), [(59, "fine"), (60, "warning"), (3600, "problem")]
    )
    def test_prepared_transaction_age_sets_severity(self, seconds: float, severity: str) -> None:
        (found,) = sessions.prepared([make_prepared(seconds=seconds)])

        assert found.severity == severity
        assert severity == "fine" or found.remedy == "ROLLBACK PREPARED 'it''s';"


class TestServer:
    def test_slow_old_or_restricted_server_is_reported(self) -> None:
        slow = server.server(make_server(), TARGET, 1.5, make_context())
        old = server.server(make_server(version_number=150_008), TARGET, 0.1, make_context())
        blind = server.server(make_server(sees_all=False), TARGET, 0.1, make_context())

        assert severities(slow) == ["problem", "fine"]
        assert severities(old) == ["warning", "fine"]
        assert severities(blind) == ["unknown", "fine"]

    def test_standby_is_ok_only_as_replica_without_lag(self) -> None:
        standby = make_server(standby=True)
        primary, replica = make_context(), make_context(replica=True)
        late = make_server(standby=True, replay_seconds=31.0)

        assert severities(server.server(standby, TARGET, 0.1, primary)) == ["problem", "fine"]
        assert severities(server.server(standby, TARGET, 0.1, replica)) == ["fine", "fine"]
        assert severities(server.server(late, TARGET, 0.1, replica)) == ["warning", "fine"]

    @pytest.mark.parametrize(
        ("ahead", "severity", "says"),
        [
            (0.9, "fine", "agree"),
            (1.2, "warning", "ahead of"),
            (-1.2, "warning", "behind"),
            (-61, "problem", "behind"),
        ],
    )
    def test_clock_difference_sets_severity(self, ahead: float, severity: str, says: str) -> None:
        # With a round trip of 100 ms the server was asked about half of that ago.
        answer = Answer(NOW + timedelta(seconds=0.05 + ahead), NOW, 0.1)

        (finding,) = server.clock(answer)

        assert finding.severity == severity
        assert says in finding.title

    @pytest.mark.parametrize(
        ("found", "known", "severity", "says"),
        [
            (["3"], ["1", "2", "3"], "fine", "at 3"),
            (["1"], ["1", "2", "3"], "problem", "2 revisions behind"),
            (["2"], ["1", "2", "3"], "problem", "1 revision behind"),
            (["4"], ["1", "2", "3"], "problem", "newer"),
            (None, ["1"], "problem", "no schema"),
            ([], ["1"], "problem", "no schema"),
            (["1"], [], "unknown", "no migrations"),
        ],
    )
    def test_schema_revision_is_compared_with_code(
        self, found: list[str] | None, known: list[str], severity: str, says: str
    ) -> None:
        (finding,) = server.schema(found, known)

        assert finding.severity == severity
        assert says in finding.title

    def test_cache_misses_and_temporary_files_are_warned(self) -> None:
        cold = make_activity(blocks_hit=10**6, blocks_read=10**5)
        sorting = make_activity(temp_files=9, temp_bytes=31 * 24 * GB)

        assert severities(server.activity(make_activity(), GB)) == ["fine"]
        assert severities(server.activity(cold, None)) == ["warning"]
        assert severities(
            server.activity(make_activity(blocks_hit=10**6, blocks_read=99), None)
        ) == ["fine"]
        assert severities(server.activity(sorting, None)) == ["fine", "warning"]

    @pytest.mark.parametrize(
        ("transactions", "multixacts", "severity"),
        [
            (399_000_000, 0, "fine"),
            (401_000_000, 0, "warning"),
            (0, 401_000_000, "warning"),
            (1_600_000_000, 0, "problem"),
        ],
    )
    def test_transaction_age_sets_severity(
        self, transactions: int, multixacts: int, severity: str
    ) -> None:
        age = make_age(transactions=transactions, multixacts=multixacts)

        assert severities(server.ages([age], make_settings())) == [severity]

    def test_unused_or_lost_slot_is_reported(self) -> None:
        used = make_slot()
        left, lost = make_slot(active=False), make_slot(name="c", active=False, wal_status="lost")

        assert severities(server.slots([used])) == ["fine"]
        assert severities(server.slots([used, left, lost])) == ["problem", "warning"]

    def test_free_disk_space_sets_severity(
        self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = make_context().settings
        existing = settings.model_copy(update={"data_dir": tmp_path})
        missing = settings.model_copy(update={"data_dir": tmp_path / "none"})
        usage = shutil.disk_usage(tmp_path)
        found = []
        for free in (10 * GB, GB // 2, 1024):
            monkeypatch.setattr(shutil, "disk_usage", lambda _, n=free: usage._replace(free=n))
            found += severities(server.disk(existing))

        assert found == ["fine", "warning", "problem"]
        assert server.disk(missing) == []


class TestIndexes:
    @pytest.mark.parametrize(
        ("changes", "severity"),
        [
            ({"seq_scan": 99, "idx_scan": 0}, None),
            ({"seq_scan": 100, "idx_scan": 1000}, None),
            ({"seq_scan": 100, "idx_scan": 900}, "warning"),
            ({"seq_scan": 100, "idx_scan": 100}, "problem"),
            ({"seq_scan": 100, "idx_scan": 100, "scanned_lately": False}, None),
            ({"seq_scan": 100, "idx_scan": 0, "rows": 9_999}, None),
        ],
    )
    def test_sequential_scans_set_severity(
        self, changes: dict[str, Any], severity: str | None
    ) -> None:
        found = indexes.scans([make_table(**changes)], make_activity())

        assert severities(found) == ([severity] if severity else [])

    @pytest.mark.parametrize(
        "changes",
        [
            {"scans": 1},
            {"constrains": True},
            {"behind_foreign_key": True},
            {"valid": False},
            {"bytes": 1024},
            {"table_scans": 999},
            {"name": "procrastinate_jobs_queue_name_idx_v1"},
            {"name": "idx_procrastinate_workers_last_heartbeat"},
        ],
    )
    def test_needed_index_is_not_reported_as_unused(self, changes: dict[str, Any]) -> None:
        assert severities(indexes.unused([make_index()], make_activity(), [])) == ["warning"]
        assert indexes.unused([make_index(**changes)], make_activity(), []) == []

    def test_unused_index_of_models_is_dropped_in_revision(self) -> None:
        declared = [("deals", "ix", "CREATE INDEX")]
        (ours,) = indexes.unused([make_index()], make_activity(), declared)
        (early,) = indexes.unused([make_index()], make_activity(days=6.9), [])

        assert "drop it in a revision" in ours.advice
        assert early.severity == "fine"

    def test_invalid_index_is_rebuilt_or_dropped(self) -> None:
        broken = make_index(valid=False)
        left = make_index(valid=False, name="ix_ccnew1")

        assert indexes.invalid([make_index(), make_index(valid=False, being_built=True)]) == []
        assert [one.remedy for one in indexes.invalid([broken, left])] == [
            'REINDEX INDEX CONCURRENTLY "public"."ix";',
            'DROP INDEX CONCURRENTLY "public"."ix_ccnew1";',
        ]
        assert indexes.duplicates([make_index(), make_index(valid=False, name="b")]) == []

    def test_duplicate_constraints_are_not_reported(self) -> None:
        unique = make_index(constrains=True)
        other = make_index(name="aa", table="hotels")

        assert indexes.duplicates([unique, make_index(constrains=True, name="iy"), other]) == []

    def test_missing_index_of_models_is_reported(self) -> None:
        declared = declared_indexes()
        small = make_table(rows=10)

        assert len(declared) > 15
        assert all(
            sql.startswith(("CREATE INDEX CON", "CREATE UNIQUE INDEX CON"))
            for _, _, sql in declared
        )
        found = indexes.undone([], [small], declared)
        assert set(severities(found)) == {"warning"}
        assert len(found) == MAX_FINDINGS + 1
        assert indexes.undone([], [make_table(name="theirs")], declared) == []

    def test_foreign_key_of_small_or_queue_table_needs_no_index(self) -> None:
        key = make_foreign_key()

        assert severities(indexes.foreign_keys([key])) == ["warning"]
        assert indexes.foreign_keys([make_foreign_key(rows=9_999)]) == []
        assert indexes.foreign_keys([make_foreign_key(table="procrastinate_events")]) == []


class TestTables:
    @pytest.mark.parametrize(
        ("live", "dead", "severity"),
        [
            (10**6, 0, "fine"),
            (10, 9_999, "fine"),
            (40_000, 10_000, "fine"),
            (30_000, 10_000, "warning"),
            (10_000, 10_000, "problem"),
        ],
    )
    def test_dead_rows_set_severity(self, live: int, dead: int, severity: str) -> None:
        assert severities(tables.vacuum([make_table(rows=live, dead=dead)])) == [severity]

    @pytest.mark.parametrize(
        ("changes", "severity"),
        [
            ({}, "fine"),
            ({"modified": 24_999}, "fine"),
            ({"modified": 25_000}, "warning"),
            ({"rows": 10, "live": 10, "modified": 9_999}, "fine"),
            ({"analyzed": False}, "warning"),
            ({"analyzed": False, "live": 9_999}, "fine"),
        ],
    )
    def test_old_statistics_set_severity(self, changes: dict[str, Any], severity: str) -> None:
        assert severities(tables.analyze([make_table(**changes)])) == [severity]


class TestLocks:
    @pytest.mark.parametrize(
        ("blocker", "waiting", "severity"),
        [
            ({}, make_waiting(seconds=0.9), "fine"),
            ({}, make_waiting(), "warning"),
            ({"state": "idle in transaction"}, make_waiting(), "problem"),
            ({"transaction_seconds": 5.0}, make_waiting(), "problem"),
            ({}, make_waiting(seconds=5.0), "problem"),
            # A load waits for another load.
            (
                {"transaction_seconds": 900.0},
                make_waiting(seconds=600.0, lock="advisory"),
                "warning",
            ),
        ],
    )
    def test_lock_wait_sets_severity(
        self, blocker: dict[str, Any], waiting: Waiting, severity: str
    ) -> None:
        open_sessions = {7: make_session(**blocker)}

        assert severities(locks.waits([waiting], open_sessions, 5.0)) == [severity]

    def test_lock_chain_reports_root_blockers(self) -> None:
        chain = [
            make_waiting(),
            make_waiting(pid=2, blockers=[1]),
            make_waiting(pid=3, blockers=[2, 1]),
            make_waiting(pid=4, blockers=[0]),
            make_waiting(pid=5, blockers=[6]),
            make_waiting(pid=6, blockers=[5]),
        ]

        found = locks.waits(chain, {7: make_session()}, 5.0)

        # PostgreSQL resolves a mutual wait by itself.
        assert {one.evidence["pid"]: one.evidence["waiting"] for one in found} == {7: 3, 0: 1}
        assert "a prepared transaction blocks 1 session," in found[1].title


class TestBackgroundWork:
    @pytest.mark.parametrize(
        ("silent", "queue", "expected"),
        [
            ([], {}, ["warning"]),
            ([], {"due": 1}, ["problem"]),
            ([14.9], {"due": 1}, ["fine"]),
            ([15.0], {"doing": 1}, ["problem", "warning"]),
            ([1.0, 15.0], {"due": 1}, ["warning", "fine"]),
        ],
    )
    def test_silent_workers_set_severity(
        self, silent: list[float], queue: dict[str, Any], expected: list[str]
    ) -> None:
        found = [
            make_worker(id=number, silent_seconds=seconds) for number, seconds in enumerate(silent)
        ]

        assert severities(work.workers(found, make_queue(**queue), 15.0)) == expected

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, ["fine"]),
            ({"due": 1, "oldest_seconds": 59.0}, ["fine"]),
            ({"due": 1, "doing": 1, "oldest_seconds": 61.0}, ["warning"]),
            ({"due": 1, "oldest_seconds": 61.0}, ["problem"]),
            ({"due": 1, "doing": 1, "oldest_seconds": 3600.0}, ["problem"]),
            ({"failed": 2}, ["warning"]),
        ],
    )
    def test_waiting_and_failed_jobs_set_severity(
        self, changes: dict[str, Any], expected: list[str]
    ) -> None:
        assert severities(work.jobs(make_queue(**changes))) == expected

    @pytest.mark.parametrize(
        ("changes", "severity"),
        [
            ({}, "fine"),
            ({"job": "todo", "silent_seconds": None}, "fine"),
            ({"silent_seconds": None}, "problem"),
            ({"silent_seconds": 15.0}, "problem"),
            ({"job": None, "seconds": 14.0}, "fine"),
            ({"job": None, "seconds": 15.0}, "problem"),
            ({"failures": 3, "job": "todo", "silent_seconds": None}, "warning"),
            ({"seconds": 3600.0}, "warning"),
            ({"state": "queued", "job": None, "seconds": 60.0}, "problem"),
            (
                {"state": "queued", "job": None, "seconds": 60.0, "retry_in_seconds": -5.0},
                "fine",
            ),
        ],
    )
    def test_stalled_import_sets_severity(self, changes: dict[str, Any], severity: str) -> None:
        assert severities(work.imports([make_import(**changes)], 15.0)) == [severity]


class TestFindings:
    def test_many_findings_are_sorted_and_bounded(self) -> None:
        fine, bad = Finding("a", "fine", "1"), Finding("b", "problem", "2")
        many = bounded([Finding("a", "warning", str(n)) for n in range(MAX_FINDINGS + 5)] + [bad])

        assert by_severity([fine, bad]) == [bad, fine]
        assert many[0] == bad
        assert len(many) == MAX_FINDINGS + 1
        assert many[-1].title == "6 more findings of this kind"

    def test_sizes_and_durations_are_human_readable(self) -> None:
        assert [size(n) for n in (1, 2048, 3 * 1024**2, 5 * GB)] == [
            "1 bytes",
            "2.0 kB",
            "3.0 MB",
            "5.0 GB",
        ]
        assert [duration(n) for n in (1, 90, 5400, 200_000)] == [
            "1.0 s",
            "1.5 min",
            "1.5 h",
            "2.3 days",
        ]
        assert memory_here() > 0
