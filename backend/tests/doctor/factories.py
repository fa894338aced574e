"""Rows of a healthy server. Each builder takes the fields that a test changes."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

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
from app.doctor.context import DiagnosisContext

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GB = 1024**3


def make_context(**changes: Any) -> DiagnosisContext:
    context = DiagnosisContext(
        settings=Settings(_env_file=None),
        processes=1,
        replica=False,
        memory=16 * GB,
        revisions=["1", "2", "3"],
    )
    return replace(context, **changes)


def make_server(**changes: Any) -> Server:
    server = Server(
        version="18.1",
        version_number=180_001,
        role="deals",
        database="shop",
        standby=False,
        started=NOW,
        sees_all=True,
        replay_seconds=None,
        role_limit=-1,
        database_limit=-1,
    )
    return replace(server, **changes)


def make_setting(name: str, value: object, unit: str | None = None, **changes: Any) -> Setting:
    return replace(Setting(name, str(value), unit, pending_restart=False), **changes)


def make_settings(**values: object) -> dict[str, Setting]:
    """Return the settings of a healthy server, with some changes."""
    healthy = {
        "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on",
        "track_counts": "on", "jit": "off", "track_io_timing": "on", "statement_timeout": "1000",
        "default_transaction_read_only": "off", "idle_in_transaction_session_timeout": "1000",
        "random_page_cost": "1.1", "max_connections": "100", "reserved_connections": "0",
        "superuser_reserved_connections": "3", "autovacuum_freeze_max_age": "200000000",
        "vacuum_failsafe_age": "1600000000", "shared_buffers": 4 * GB // 8192, "work_mem": 4096,
    }  # fmt: skip
    assert values.keys() <= healthy.keys()
    units = {"shared_buffers": "8kB", "work_mem": "kB"}
    return {
        name: make_setting(name, value, units.get(name))
        for name, value in (healthy | values).items()
    }


def make_activity(**changes: Any) -> Activity:
    activity = Activity(
        blocks_hit=10**7,
        blocks_read=10,
        temp_files=0,
        temp_bytes=0,
        deadlocks=0,
        since=NOW,
        days=30.0,
    )
    return replace(activity, **changes)


def make_age(**changes: Any) -> Age:
    return replace(Age(database="d", transactions=0, multixacts=0), **changes)


def make_slot(**changes: Any) -> Slot:
    return replace(Slot(name="a", active=True, wal_status="reserved"), **changes)


def make_table(**changes: Any) -> Table:
    table = Table(
        schema="public",
        name="deals",
        rows=50_000,
        bytes=10**7,
        index_bytes=10**7,
        seq_scan=0,
        idx_scan=10**5,
        scanned_lately=True,
        seq_rows=0,
        live=50_000,
        dead=0,
        modified=0,
        analyzed=True,
        last_vacuum=NOW,
        last_analyze=NOW,
        autovacuum=True,
    )
    return replace(table, **changes)


def make_index(**changes: Any) -> Index:
    index = Index(
        schema="public",
        table="deals",
        name="ix",
        bytes=10**7,
        scans=0,
        table_scans=10**5,
        valid=True,
        being_built=False,
        constrains=False,
        behind_foreign_key=False,
        shape="a",
    )
    return replace(index, **changes)


def make_foreign_key(**changes: Any) -> ForeignKey:
    key = ForeignKey(
        schema="public", table="notes", name="fk", columns="deal_id", target="deals", rows=10_000
    )
    return replace(key, **changes)


def make_connections(**changes: Any) -> Connections:
    connections = Connections(
        application="hotel-deals", state="idle", here=True, of_role=True, count=1
    )
    return replace(connections, **changes)


def make_session(**changes: Any) -> Session:
    session = Session(
        pid=7,
        user="u",
        application="psql",
        client=None,
        kind="client backend",
        state="active",
        state_seconds=1.0,
        transaction_seconds=1.0,
        query_seconds=1.0,
        wait=None,
        query="SELECT 1",
        started=NOW,
        database="d",
        here=True,
        own=False,
    )
    return replace(session, **changes)


def make_waiting(**changes: Any) -> Waiting:
    waiting = Waiting(
        pid=1, lock="relation", mode="ShareLock", relation="deals", seconds=2.0, blockers=[7]
    )
    return replace(waiting, **changes)


def make_prepared(**changes: Any) -> Prepared:
    return replace(Prepared(gid="it's", owner="u", seconds=0.0), **changes)


def make_queue(**changes: Any) -> Queue:
    queue = Queue(due=0, later=0, doing=0, failed=0, oldest_seconds=None, oldest_task=None)
    return replace(queue, **changes)


def make_worker(**changes: Any) -> Worker:
    return replace(Worker(id=0, silent_seconds=1.0, jobs=0), **changes)


def make_import(**changes: Any) -> OpenImport:
    open_import = OpenImport(
        id=1,
        state="running",
        attempt=1,
        failures=0,
        error=None,
        retry_in_seconds=None,
        seconds=10.0,
        job="doing",
        silent_seconds=1.0,
    )
    return replace(open_import, **changes)
