"""The rows of the doctor's queries. None stands for values that the role's rights hide."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Server:
    """The server and the database, and the rights of the doctor's role."""

    version: str
    version_number: int
    role: str
    database: str
    standby: bool
    started: datetime
    # Whether the role sees the states and statements of other sessions.
    sees_all: bool
    # The replica lag of a standby with WAL that it has received and not yet replayed, else None.
    replay_seconds: float | None
    role_limit: int
    database_limit: int


@dataclass(frozen=True)
class Setting:
    """A setting, with the value that a new connection gets."""

    name: str
    value: str
    unit: str | None
    pending_restart: bool

    @property
    def bytes(self) -> int:
        """Return the value of a size setting in bytes."""
        factors = {"B": 1, "kB": 1024, "8kB": 8192, "MB": 1024**2, "GB": 1024**3}
        return int(self.value) * factors[self.unit or "B"]


@dataclass(frozen=True)
class Activity:
    """The database's counters, counted since `since`."""

    blocks_hit: int
    blocks_read: int
    temp_files: int
    temp_bytes: int
    deadlocks: int
    # The latest possible reset of the counters.
    since: datetime
    days: float


@dataclass(frozen=True)
class Age:
    """The age of a database's oldest unfrozen row, in transactions."""

    database: str
    transactions: int
    multixacts: int


@dataclass(frozen=True)
class Slot:
    """A replication slot, which keeps WAL and possibly dead rows for a replica."""

    name: str
    active: bool
    wal_status: str | None


@dataclass(frozen=True)
class Table:
    """A table with its size, scans and dead rows."""

    schema: str
    name: str
    rows: int
    bytes: int
    index_bytes: int
    seq_scan: int
    idx_scan: int
    # Whether a sequential scan ran within the last day.
    scanned_lately: bool
    seq_rows: int
    live: int
    dead: int
    modified: int
    analyzed: bool
    last_vacuum: datetime | None
    last_analyze: datetime | None
    autovacuum: bool

    @property
    def identifier(self) -> str:
        """Return the qualified and quoted name."""
        return identifier(self.schema, self.name)


@dataclass(frozen=True)
class Index:
    """An index, with its use and its purpose."""

    schema: str
    table: str
    name: str
    bytes: int
    scans: int
    table_scans: int
    valid: bool
    being_built: bool
    # Whether the index is unique or enforces another constraint.
    constrains: bool
    # Whether the first column is a foreign key, so that deletes of its target search this index.
    behind_foreign_key: bool
    # A description that is equal for equivalent indexes of a table.
    shape: str

    @property
    def identifier(self) -> str:
        """Return the qualified and quoted name."""
        return identifier(self.schema, self.name)


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key without an index on its columns."""

    schema: str
    table: str
    name: str
    columns: str
    target: str
    rows: int


@dataclass(frozen=True)
class Connections:
    """The number of connections of one kind on the whole server."""

    application: str
    state: str | None
    # Whether they belong to the doctor's database and to its role. Both can have their own limits.
    here: bool
    of_role: bool
    count: int


@dataclass(frozen=True)
class Session:
    """A session. Without the rights, most values are None."""

    pid: int
    user: str | None
    application: str
    client: str | None
    kind: str | None
    state: str | None
    state_seconds: float | None
    transaction_seconds: float | None
    query_seconds: float | None
    wait: str | None
    query: str | None
    started: datetime | None
    database: str | None
    # Whether it belongs to the doctor's database, and whether it is the doctor's own session.
    here: bool
    own: bool


@dataclass(frozen=True)
class Waiting:
    """A session that waits for a lock, with the sessions that block it."""

    pid: int
    lock: str
    mode: str
    relation: str | None
    seconds: float
    blockers: list[int]


@dataclass(frozen=True)
class Prepared:
    """A transaction that was prepared for two-phase commit and has not ended."""

    gid: str
    owner: str
    seconds: float


@dataclass(frozen=True)
class Queue:
    """The numbers of jobs that wait, run and have failed."""

    due: int
    later: int
    doing: int
    failed: int
    oldest_seconds: float | None
    oldest_task: str | None


@dataclass(frozen=True)
class Worker:
    """A registered worker, alive or dead."""

    id: int
    silent_seconds: float
    jobs: int


@dataclass(frozen=True)
class OpenImport:
    """An unfinished import, with the state of its job if it has one."""

    id: int
    state: str
    attempt: int
    failures: int
    error: str | None
    # The time until the next attempt, which gets a new job. Negative if it is due.
    retry_in_seconds: float | None
    seconds: float
    job: str | None
    # The time since the last heartbeat of the job's worker.
    silent_seconds: float | None


def identifier(*parts: str) -> str:
    """Return a qualified and quoted name for SQL."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
