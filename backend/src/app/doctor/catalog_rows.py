"""Rows that the doctor's queries return. Values that the doctor's role may not see are None."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Server:
    """The server and the database, with the permissions and limits of the doctor's role."""

    version: str
    version_number: int
    role: str
    database: str
    standby: bool
    started: datetime
    # Whether the role may see the states and statements of other sessions.
    sees_all: bool
    # The replica lag. None on a primary, or if the standby has replayed all received WAL.
    replay_seconds: float | None
    role_limit: int
    database_limit: int


@dataclass(frozen=True)
class Setting:
    """A server setting. `value` is the value that new connections get."""

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
    """The database's activity counters, which began at `since` (`days` days ago) or earlier."""

    blocks_hit: int
    blocks_read: int
    temp_files: int
    temp_bytes: int
    deadlocks: int
    since: datetime
    days: float


@dataclass(frozen=True)
class Age:
    """The ages of a database's oldest unfrozen transaction id and oldest unfrozen multixact id."""

    database: str
    transactions: int
    multixacts: int


@dataclass(frozen=True)
class Slot:
    """A replication slot.

    PostgreSQL keeps WAL, and possibly dead rows, until the slot's replica has received it.
    """

    name: str
    active: bool
    wal_status: str | None


@dataclass(frozen=True)
class Table:
    """A table, with its size and its counts of scans, dead rows and changes."""

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
        """Return the table's schema and name, quoted for SQL."""
        return identifier(self.schema, self.name)


@dataclass(frozen=True)
class Index:
    """An index, with its size, scan counts and purpose."""

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
    # Whether the index starts with a foreign key. Deletes of referenced rows use such an index.
    behind_foreign_key: bool
    # The definition as text. Indexes of one table with equal shapes are duplicates.
    shape: str

    @property
    def identifier(self) -> str:
        """Return the index's schema and name, quoted for SQL."""
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
    """A count of the server's connections, grouped by the values of the other fields."""

    application: str
    state: str | None
    # Whether the connections belong to the doctor's database, and to the doctor's role.
    here: bool
    of_role: bool
    count: int


@dataclass(frozen=True)
class Session:
    """A session. Most values are None if the doctor's role may not see the session's details."""

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
    # Whether the session uses the doctor's database, and whether it is the doctor's own session.
    here: bool
    own: bool


@dataclass(frozen=True)
class Waiting:
    """A session that waits for a lock, with the process ids of the sessions that block it."""

    pid: int
    lock: str
    mode: str
    relation: str | None
    seconds: float
    blockers: list[int]


@dataclass(frozen=True)
class Prepared:
    """A transaction prepared for two-phase commit, but not yet committed or rolled back."""

    gid: str
    owner: str
    seconds: float


@dataclass(frozen=True)
class Queue:
    """The queue's job counts by state, with the waiting time and task of the oldest due job."""

    due: int
    later: int
    doing: int
    failed: int
    oldest_seconds: float | None
    oldest_task: str | None


@dataclass(frozen=True)
class Worker:
    """A worker registered in the job queue, alive or dead, with the count of its running jobs."""

    id: int
    silent_seconds: float
    jobs: int


@dataclass(frozen=True)
class OpenImport:
    """An unfinished import. `job` is the status of the import's job, or None if no job exists."""

    id: int
    state: str
    attempt: int
    failures: int
    error: str | None
    # The time until the import is retried. Negative if the retry is overdue.
    retry_in_seconds: float | None
    seconds: float
    job: str | None
    # The time since the last heartbeat of the worker that runs the job.
    silent_seconds: float | None


def identifier(*parts: str) -> str:
    """Quote the parts of a name for SQL, and join them with dots."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
