"""The thresholds, with rows as a server would give them."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.config import Settings
from app.doctor.catalog_rows import (
    Activity,
    Age,
    Connections,
    ForeignKey,
    Index,
    OpenImport,
    Prepared,
    Queue,
    Server,
    Session,
    Setting,
    Slot,
    Table,
    Waiting,
    Worker,
)
from app.doctor.connection import Answer, Target
from app.doctor.context import DiagnosisContext, memory_here
from app.doctor.findings import MAX_FINDINGS, Finding, bounded, by_severity, duration, size
from app.doctor.questions.tables import declared_indexes
from app.doctor.rules import indexes, locks, server, sessions, tables, work
from app.doctor.rules import settings as rules

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GB = 1024**3
SETTINGS = Settings(_env_file=None)
SITUATION = DiagnosisContext(
    SETTINGS, processes=1, replica=False, memory=16 * GB, revisions=["1", "2", "3"]
)
SERVER = Server("18.1", 180_001, "deals", "shop", False, NOW, True, None, -1, -1)  # noqa: FBT003
TARGET = Target(("db:5432",), "deals", "deals")
TABLE = Table(
    "public", "deals", 50_000, 10**7, 10**7, 0, 10**5, True, 0, 50_000, 0, 0, True, NOW, NOW, True,  # noqa: FBT003
)  # fmt: skip
INDEX = Index("public", "deals", "ix", 10**7, 0, 10**5, True, False, False, False, "a")  # noqa: FBT003
ACTIVITY = Activity(10**7, 10, 0, 0, 0, NOW, 30.0)
SESSION = Session(
    7, "u", "psql", None, "client backend", "active", 1.0, 1.0, 1.0, None, "SELECT 1", NOW, "d",
    True, False,  # noqa: FBT003
)  # fmt: skip
QUEUE = Queue(0, 0, 0, 0, None, None)
IMPORT = OpenImport(
    id=1,
    state="running",
    attempt=1,
    failures=0,
    error=None,
    waits_for_retry=False,
    seconds=10.0,
    job="doing",
    silent_seconds=1.0,
)


def named(**values: Any) -> dict[str, Setting]:
    """The settings of a good server, with some of other values."""
    good = {
        "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on",
        "track_counts": "on", "jit": "off", "track_io_timing": "on", "statement_timeout": "1000",
        "default_transaction_read_only": "off", "idle_in_transaction_session_timeout": "1000",
        "random_page_cost": "1.1", "max_connections": "100", "reserved_connections": "0",
        "superuser_reserved_connections": "3", "autovacuum_freeze_max_age": "200000000",
        "vacuum_failsafe_age": "1600000000",
    }  # fmt: skip
    found = {name: Setting(name, value, None, False) for name, value in good.items()}  # noqa: FBT003
    found["shared_buffers"] = Setting("shared_buffers", str(4 * GB // 8192), "8kB", False)  # noqa: FBT003
    found["work_mem"] = Setting("work_mem", "4096", "kB", False)  # noqa: FBT003
    for name, value in values.items():
        found[name] = replace(found[name], value=str(value))
    return found


def severities(findings: list[Finding]) -> list[str]:
    return [finding.severity for finding in findings]


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
def test_a_setting_that_is_wrong(name: str, value: str, severity: str) -> None:
    (finding,) = rules.single(named(**{name: value}), standby=False)

    assert finding.severity == severity
    assert finding.remedy.startswith(f"ALTER SYSTEM SET {name} = ")
    assert rules.single(named(), standby=False) == []


def test_settings_of_a_standby_and_those_that_wait() -> None:
    read_only = named(default_transaction_read_only="on")
    read_only["jit"] = replace(read_only["jit"], pending_restart=True)

    (pending,) = rules.single(read_only, standby=True)

    assert (pending.severity, pending.evidence["settings"]) == ("warning", "jit")


@pytest.mark.parametrize(
    ("buffers", "memory", "database", "severity"),
    [
        (4 * GB, 16 * GB, 100 * GB, "fine"),
        (GB // 8, 16 * GB, 100 * GB, "warning"),
        # All of it fits.
        (GB // 8, 16 * GB, GB // 10, "fine"),
        (12 * GB, 16 * GB, 100 * GB, "warning"),
        (GB // 8, None, 100 * GB, "fine"),
    ],
)
def test_shared_buffers_and_the_memory(
    buffers: int, memory: int | None, database: int, severity: str
) -> None:
    (finding,) = rules.sizes(named(shared_buffers=buffers // 8192), memory, database)

    assert finding.severity == severity
    if severity == "warning":
        assert "shared_buffers = '4096MB'" in finding.remedy
    assert ("not known" in finding.title) is (memory is None)


def test_work_mem_and_disks() -> None:
    much = rules.sizes(named(work_mem=512 * 1024), 16 * GB, GB)
    turning = rules.sizes(named(random_page_cost=4), 16 * GB, 2 * GB)
    small = rules.sizes(named(random_page_cost=4), 16 * GB, GB // 2)

    assert severities(much) == ["fine", "warning"]
    assert "SET work_mem = '41943kB'" in much[1].remedy
    assert severities(turning) == ["fine", "warning"]
    assert severities(small) == ["fine", "fine"]


def test_pools_against_connections() -> None:
    two = replace(SITUATION, processes=2)
    five = replace(SITUATION, processes=5)

    assert severities(rules.capacity(named(), SERVER, two)) == ["fine"]
    (many,) = rules.capacity(named(), SERVER, five)
    assert many.evidence["wanted"] == 5 * 33 + 12
    assert "max_connections = '187'" in many.remedy
    assert "DB_POOL_SIZE=5 DB_MAX_OVERFLOW=2" in many.advice
    (limited,) = rules.capacity(named(), replace(SERVER, role_limit=20), SITUATION)
    assert limited.remedy == 'ALTER ROLE "deals" CONNECTION LIMIT 55;'
    (narrow,) = rules.capacity(named(), replace(SERVER, database_limit=20), SITUATION)
    assert narrow.remedy == 'ALTER DATABASE "shop" CONNECTION LIMIT 55;'


@pytest.mark.parametrize(("count", "severity"), [(77, "fine"), (78, "warning"), (93, "problem")])
def test_how_full_the_server_is(count: int, severity: str) -> None:
    found = [Connections("hotel-deals", "idle", True, True, count)]  # noqa: FBT003

    assert severities(sessions.connections(found, named(), SERVER)) == [severity]


def test_who_answers() -> None:
    slow = server.server(SERVER, TARGET, 1.5, SITUATION)
    old = server.server(replace(SERVER, version_number=150_008), TARGET, 0.1, SITUATION)
    blind = server.server(replace(SERVER, sees_all=False), TARGET, 0.1, SITUATION)

    assert severities(slow) == ["problem", "fine"]
    assert severities(old) == ["warning", "fine"]
    assert severities(blind) == ["unknown", "fine"]


def test_a_standby() -> None:
    standby = replace(SERVER, standby=True)
    replica = replace(SITUATION, replica=True)
    late = replace(standby, replay_seconds=31.0)

    assert severities(server.server(standby, TARGET, 0.1, SITUATION)) == ["problem", "fine"]
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
def test_clocks(ahead: float, severity: str, says: str) -> None:
    # A round trip of 100 ms: the server was asked in the middle of it, or so.
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
def test_the_schema(found: list[str] | None, known: list[str], severity: str, says: str) -> None:
    (finding,) = server.schema(found, known)

    assert finding.severity == severity
    assert says in finding.title


def test_the_cache() -> None:
    cold = replace(ACTIVITY, blocks_hit=10**6, blocks_read=10**5)
    sorting = replace(ACTIVITY, temp_files=9, temp_bytes=31 * 24 * GB)

    assert severities(server.activity(ACTIVITY, GB)) == ["fine"]
    assert severities(server.activity(cold, None)) == ["warning"]
    assert severities(server.activity(replace(cold, blocks_read=99), None)) == ["fine"]
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
def test_the_age_of_rows(transactions: int, multixacts: int, severity: str) -> None:
    assert severities(server.ages([Age("d", transactions, multixacts)], named())) == [severity]


def test_slots() -> None:
    used = Slot("a", active=True, wal_status="reserved")
    left, lost = replace(used, active=False), Slot("c", active=False, wal_status="lost")

    assert severities(server.slots([used])) == ["fine"]
    assert severities(server.slots([used, left, lost])) == ["problem", "warning"]


def test_the_disk(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = SETTINGS.model_copy(update={"data_dir": tmp_path})
    usage = shutil.disk_usage(tmp_path)
    found = []
    for free in (10 * GB, GB // 2, 1024):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, n=free: usage._replace(free=n))
        found += severities(server.disk(here))

    assert found == ["fine", "warning", "problem"]
    assert server.disk(SETTINGS.model_copy(update={"data_dir": tmp_path / "none"})) == []


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
def test_scans_of_whole_tables(changes: dict[str, Any], severity: str | None) -> None:
    found = indexes.scans([replace(TABLE, **changes)], ACTIVITY)

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
def test_what_is_not_an_unused_index(changes: dict[str, Any]) -> None:
    assert severities(indexes.unused([INDEX], ACTIVITY, [])) == ["warning"]
    assert indexes.unused([replace(INDEX, **changes)], ACTIVITY, []) == []


def test_an_unused_index_of_the_models_is_dropped_there() -> None:
    (ours,) = indexes.unused([INDEX], ACTIVITY, [("deals", "ix", "CREATE INDEX")])
    (early,) = indexes.unused([INDEX], replace(ACTIVITY, days=6.9), [])

    assert "in a revision" in ours.advice
    assert early.severity == "fine"


def test_broken_indexes() -> None:
    broken = replace(INDEX, valid=False)
    left = replace(broken, name="ix_ccnew1")

    assert indexes.invalid([INDEX, replace(broken, being_built=True)]) == []
    assert [one.remedy for one in indexes.invalid([broken, left])] == [
        'REINDEX INDEX CONCURRENTLY "public"."ix";',
        'DROP INDEX CONCURRENTLY "public"."ix_ccnew1";',
    ]
    assert indexes.duplicates([INDEX, replace(broken, name="b")]) == []


def test_two_constraints_of_the_same_columns_are_not_to_be_dropped() -> None:
    unique = replace(INDEX, constrains=True)
    other = replace(INDEX, name="aa", table="hotels")

    assert indexes.duplicates([unique, replace(unique, name="iy"), other]) == []


def test_missing_indexes_of_the_models() -> None:
    declared = declared_indexes()
    small = replace(TABLE, rows=10)

    assert len(declared) > 15
    assert all(
        sql.startswith(("CREATE INDEX CON", "CREATE UNIQUE INDEX CON")) for _, _, sql in declared
    )
    found = indexes.undone([], [small], declared)
    assert set(severities(found)) == {"warning"}
    assert len(found) == MAX_FINDINGS + 1
    assert indexes.undone([], [replace(TABLE, name="theirs")], declared) == []


def test_references_of_small_tables_and_of_the_queue_need_no_index() -> None:
    key = ForeignKey("public", "notes", "fk", "deal_id", "deals", 10_000)

    assert severities(indexes.foreign_keys([key])) == ["warning"]
    assert indexes.foreign_keys([replace(key, rows=9_999)]) == []
    assert indexes.foreign_keys([replace(key, table="procrastinate_events")]) == []


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
def test_dead_rows(live: int, dead: int, severity: str) -> None:
    assert severities(tables.vacuum([replace(TABLE, rows=live, dead=dead)])) == [severity]


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
def test_old_statistics(changes: dict[str, Any], severity: str) -> None:
    assert severities(tables.analyze([replace(TABLE, **changes)])) == [severity]


@pytest.mark.parametrize(("idle", "severity"), [(9, "fine"), (10, "warning"), (60, "problem")])
def test_idle_in_a_transaction(idle: float, severity: str) -> None:
    found = [replace(SESSION, state="idle in transaction", state_seconds=idle)]

    assert severities(sessions.idle_in_transaction(found)) == [severity]


@pytest.mark.parametrize(
    ("seconds", "severity"), [(10, "fine"), (10.1, "warning"), (3600, "problem")]
)
def test_long_statements(seconds: float, severity: str) -> None:
    found = [replace(SESSION, query_seconds=seconds)]

    assert severities(sessions.running(found, 10.0)) == [severity]


@pytest.mark.parametrize(
    ("seconds", "severity"), [(59, "fine"), (60, "warning"), (3600, "problem")]
)
def test_forgotten_prepared_transactions(seconds: float, severity: str) -> None:
    (found,) = sessions.prepared([Prepared("it's", "u", seconds)])

    assert found.severity == severity
    assert severity == "fine" or found.remedy == "ROLLBACK PREPARED 'it''s';"


def wait(pid: int, *blockers: int, seconds: float = 2.0, lock: str = "relation") -> Waiting:
    return Waiting(pid, lock, "ShareLock", "deals", seconds, list(blockers))


@pytest.mark.parametrize(
    ("blocker", "waiting", "severity"),
    [
        ({}, wait(1, 7, seconds=0.9), "fine"),
        ({}, wait(1, 7), "warning"),
        ({"state": "idle in transaction"}, wait(1, 7), "problem"),
        ({"transaction_seconds": 5.0}, wait(1, 7), "problem"),
        ({}, wait(1, 7, seconds=5.0), "problem"),
        # A load that waits for another one to end.
        ({"transaction_seconds": 900.0}, wait(1, 7, seconds=600.0, lock="advisory"), "warning"),
    ],
)
def test_locks(blocker: dict[str, Any], waiting: Waiting, severity: str) -> None:
    sessions_there = {7: replace(SESSION, **blocker)}

    assert severities(locks.waits([waiting], sessions_there, 5.0)) == [severity]


def test_who_is_at_the_root() -> None:
    chain = [wait(1, 7), wait(2, 1), wait(3, 2, 1), wait(4, 0), wait(5, 6), wait(6, 5)]

    found = locks.waits(chain, {7: SESSION}, 5.0)

    # Two that wait for each other are PostgreSQL's to part.
    assert {one.evidence["pid"]: one.evidence["waiting"] for one in found} == {7: 3, 0: 1}
    assert "a prepared transaction keeps 1" in found[1].title


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
def test_workers(silent: list[float], queue: dict[str, Any], expected: list[str]) -> None:
    found = [Worker(number, seconds, 0) for number, seconds in enumerate(silent)]

    assert severities(work.workers(found, replace(QUEUE, **queue), 15.0)) == expected


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
def test_jobs(changes: dict[str, Any], expected: list[str]) -> None:
    assert severities(work.jobs(replace(QUEUE, **changes))) == expected


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
            {"state": "queued", "job": None, "seconds": 60.0, "waits_for_retry": True},
            "fine",
        ),
    ],
)
def test_imports(changes: dict[str, Any], severity: str) -> None:
    assert severities(work.imports([replace(IMPORT, **changes)], 15.0)) == [severity]


def test_the_worst_comes_first_and_not_all_of_it() -> None:
    fine, bad = Finding("a", "fine", "1"), Finding("b", "problem", "2")
    many = bounded([Finding("a", "warning", str(n)) for n in range(MAX_FINDINGS + 5)] + [bad])

    assert by_severity([fine, bad]) == [bad, fine]
    assert many[0] == bad
    assert len(many) == MAX_FINDINGS + 1
    assert many[-1].title == "6 more of the kind"


def test_numbers_for_people() -> None:
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
