"""What a server says of itself, row by row; None is what the role's rights do not show."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Server:
    """Who answered, and what this role may see."""

    version: str
    version_number: int
    role: str
    database: str
    standby: bool
    started: datetime
    # Whether other sessions' states and statements are shown.
    sees_all: bool
    # Of a standby that has not replayed all that it has received.
    replay_seconds: float | None
    role_limit: int
    database_limit: int


@dataclass(frozen=True)
class Setting:
    """A setting as a new connection finds it."""

    name: str
    value: str
    unit: str | None
    pending_restart: bool

    @property
    def bytes(self) -> int:
        """The value of a setting that is a size."""
        factors = {"B": 1, "kB": 1024, "8kB": 8192, "MB": 1024**2, "GB": 1024**3}
        return int(self.value) * factors[self.unit or "B"]


@dataclass(frozen=True)
class Activity:
    """The database's counters since `since`."""

    blocks_hit: int
    blocks_read: int
    temp_files: int
    temp_bytes: int
    deadlocks: int
    # At the earliest; what was counted before is gone.
    since: datetime
    days: float


@dataclass(frozen=True)
class Age:
    """How many transactions ago the oldest row of a database was frozen."""

    database: str
    transactions: int
    multixacts: int


@dataclass(frozen=True)
class Slot:
    """A replication slot: it keeps WAL, and maybe dead rows, for somebody."""

    name: str
    active: bool
    wal_status: str | None


@dataclass(frozen=True)
class Table:
    """A table's size, scans and dead rows."""

    schema: str
    name: str
    rows: int
    bytes: int
    index_bytes: int
    seq_scan: int
    idx_scan: int
    # Since yesterday.
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
        """As a statement names it."""
        return identifier(self.schema, self.name)


@dataclass(frozen=True)
class Index:
    """An index, and what it is there for."""

    schema: str
    table: str
    name: str
    bytes: int
    scans: int
    table_scans: int
    valid: bool
    being_built: bool
    # A primary key's, a unique one, or otherwise behind a constraint.
    constrains: bool
    # Its first column refers to another table, whose deletes look here.
    behind_foreign_key: bool
    # What two indexes of a table have in common that do the same.
    shape: str

    @property
    def identifier(self) -> str:
        """As a statement names it."""
        return identifier(self.schema, self.name)


@dataclass(frozen=True)
class ForeignKey:
    """A reference from a table that has no index for it."""

    schema: str
    table: str
    name: str
    columns: str
    target: str
    rows: int


@dataclass(frozen=True)
class Connections:
    """How many there are of a kind, on the whole server."""

    application: str
    state: str | None
    # Of the database, of the role that examines; each may have a limit of its own.
    here: bool
    of_role: bool
    count: int


@dataclass(frozen=True)
class Session:
    """A connection of this database; all but the first three are None without the rights."""

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
    # Whether it is of the database that is examined, and whether it is the examination itself.
    here: bool
    own: bool


@dataclass(frozen=True)
class Waiting:
    """A session that waits for a lock, and whom for."""

    pid: int
    lock: str
    mode: str
    relation: str | None
    seconds: float
    blockers: list[int]


@dataclass(frozen=True)
class Prepared:
    """A transaction that was prepared for two-phase commit and left."""

    gid: str
    owner: str
    seconds: float


@dataclass(frozen=True)
class Queue:
    """The jobs that wait, run and have failed."""

    due: int
    later: int
    doing: int
    failed: int
    oldest_seconds: float | None
    oldest_task: str | None


@dataclass(frozen=True)
class Worker:
    """A worker that has not said goodbye."""

    id: int
    silent_seconds: float
    jobs: int


@dataclass(frozen=True)
class OpenImport:
    """An import that has not ended, and its job, if it has one."""

    id: int
    state: str
    attempt: int
    failures: int
    error: str | None
    # Until its next attempt, for which it gets a job; negative when that is due.
    retry_in_seconds: float | None
    seconds: float
    job: str | None
    # Of the worker that has the job.
    silent_seconds: float | None


def identifier(*parts: str) -> str:
    """A qualified name as a statement takes it, whatever is in it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
