"""Statements that queue, claim and end imports, and record their chunks.

Each change of a stored import's state and each new chunk sends a notification with the import's id
on the channel `imports`.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ARRAY, BigInteger, LargeBinary, Row, Text, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

CHANNEL = "imports"

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:sha256_hex, 0))")

_FIND_SAME = text(
    """
    SELECT id FROM imports
    WHERE sha256 = :sha256 AND strict = :strict AND NOT dry_run
        AND state IN ('queued', 'running', 'succeeded')
    ORDER BY id DESC LIMIT 1
    """
).bindparams(bindparam("sha256", type_=LargeBinary))

_CLAIM_ATTEMPT = text(
    """
    UPDATE imports SET
        state = 'running', attempt = attempt + 1, error = NULL, retry_at = NULL,
        started_at = coalesce(started_at, now()), chunk_rows = coalesce(chunk_rows, :chunk_rows)
    WHERE id = :import_id AND state IN ('queued', 'running')
    RETURNING attempt, strict, dry_run, object_name, bytes_total, sha256, failures,
        chunk_rows, pg_notify('imports', id::text)
    """
)

_BEGIN = text(
    """
    UPDATE imports SET columns = :columns
    WHERE id = :import_id AND attempt = :attempt AND state = 'running'
    RETURNING id
    """
).bindparams(bindparam("columns", type_=ARRAY(Text)))

# With the row lock, a cancellation or a claim by another attempt waits until this transaction has
# committed. The counters in the response to a cancellation are therefore final.
_RUNNING = """
    SELECT id FROM imports
    WHERE id = :import_id AND attempt = :attempt AND state = 'running' FOR SHARE
"""

# Use clock_timestamp(), because now() returns the start of this transaction, perhaps long ago.
_NOTE_MERGED = text(
    """
    WITH ended AS (
        UPDATE imports SET state = 'succeeded', finished_at = clock_timestamp()
        WHERE id = :import_id AND attempt = :attempt AND state = 'running'
        RETURNING id
    ), noted AS (
        UPDATE import_chunks SET inserted = :inserted, updated = :updated, unchanged = :unchanged
        FROM ended WHERE import_id = ended.id AND number = 0
    )
    SELECT pg_notify('imports', id::text) FROM ended
    """
)

_END = text(
    """
    UPDATE imports SET state = :state, error = :error, finished_at = now()
    WHERE id = :import_id AND attempt = :attempt AND state = 'running'
    RETURNING pg_notify('imports', id::text)
    """
)

_REQUEUE = text(
    """
    UPDATE imports SET state = 'queued', error = :error
    WHERE id = :import_id AND attempt = :attempt AND state = 'running'
    RETURNING pg_notify('imports', id::text)
    """
)

_RETRY_LATER = text(
    """
    UPDATE imports SET state = 'queued', error = :error, failures = failures + 1,
        retry_at = now() + make_interval(secs => :seconds)
    WHERE id = :import_id AND attempt = :attempt AND state = 'running'
    RETURNING pg_notify('imports', id::text)
    """
)

_CANCEL = text(
    """
    UPDATE imports SET state = 'cancelled', finished_at = now(), retry_at = NULL
    WHERE id = :import_id AND state IN ('queued', 'running')
    RETURNING pg_notify('imports', id::text)
    """
)

_REJECTED_LINES = text(
    "SELECT number, rejected_lines FROM import_chunks WHERE import_id = :import_id"
)

_DELETE_CHUNKS = text("DELETE FROM import_chunks WHERE import_id = :import_id")

_END_CONNECTIONS = text(
    """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()
    """
)


@dataclass(frozen=True)
class NewImport:
    """A new import whose upload is complete."""

    strict: bool
    dry_run: bool
    file_name: str | None
    object_name: str
    bytes_total: int
    sha256: bytes
    created_by: str


_NEW = tuple(field.name for field in fields(NewImport))
_ADD = text(
    f"""
    INSERT INTO imports ({", ".join(_NEW)}) VALUES ({", ".join(f":{name}" for name in _NEW)})
    RETURNING id
    """  # noqa: S608 - names of columns
).bindparams(bindparam("sha256", type_=LargeBinary))


@dataclass(frozen=True)
class ChunkRecord:
    """The result of a chunk, as a row of `import_chunks`."""

    number: int
    rows_read: int
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    bytes_read: int
    rejects: bytes | None
    rejected_lines: list[int]
    warnings: Mapping[str, int]


_CHUNK = tuple(field.name for field in fields(ChunkRecord))
_NOTE = text(
    f"""
    WITH running AS ({_RUNNING})
    INSERT INTO import_chunks (import_id, {", ".join(_CHUNK)})
    SELECT id, {", ".join(f":{name}" for name in _CHUNK)} FROM running
    RETURNING pg_notify('imports', import_id::text)
    """  # noqa: S608 - names of columns
).bindparams(
    bindparam("rejects", type_=LargeBinary),
    bindparam("rejected_lines", type_=ARRAY(BigInteger)),
    bindparam("warnings", type_=JSONB),
)


class ImportWriteRepository:
    """Statements that write imports in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_same(self, sha256: bytes, *, strict: bool) -> int | None:
        """Return the id of the latest queued, running or succeeded import of the same file.

        Dry runs, and imports with another value of `strict`, are ignored. An advisory lock blocks
        concurrent calls for the same file until the transaction ends.
        """
        await self._session.execute(_ONE_AT_A_TIME, {"sha256_hex": sha256.hex()})
        same: int | None = await self._session.scalar(
            _FIND_SAME, {"sha256": sha256, "strict": strict}
        )
        return same

    async def add(self, new: NewImport) -> int:
        """Insert a queued import and return its id."""
        added: int = await self._session.scalar(_ADD, asdict(new))
        return added

    async def claim_attempt(self, import_id: int, chunk_rows: int) -> Row[Any] | None:
        """Begin the next attempt of an import. Return None if the import has ended.

        All attempts use the `chunk_rows` of the first attempt, so that a chunk number always means
        the same rows.
        """
        parameters = {"import_id": import_id, "chunk_rows": chunk_rows}
        return (await self._session.execute(_CLAIM_ATTEMPT, parameters)).one_or_none()

    async def rejected_lines(self, import_id: int) -> Mapping[int, Collection[int]]:
        """Map the number of each stored chunk to the line numbers of its rejected rows."""
        found = await self._session.execute(_REJECTED_LINES, {"import_id": import_id})
        return {row.number: row.rejected_lines for row in found}

    async def delete_chunks(self, import_id: int) -> None:
        """Delete the chunk records of an all-or-nothing import before it is loaded again."""
        await self._session.execute(_DELETE_CHUNKS, {"import_id": import_id})

    async def end_connections(self, name: str) -> None:
        """End connections with this `application_name`, to free the locks of a hung process."""
        await self._session.execute(_END_CONNECTIONS, {"name": name})

    async def cancel(self, import_id: int) -> bool:
        """Cancel an unfinished import, so that its attempts can store nothing more."""
        return await self._found(_CANCEL, {"import_id": import_id})

    async def _found(self, statement: Any, parameters: Mapping[str, Any]) -> bool:
        return (await self._session.execute(statement, parameters)).first() is not None


class AttemptRepository:
    """Statements of one attempt at an import, in the session's transaction.

    Each method returns False, and stores nothing, if the attempt is no longer the current one.
    """

    def __init__(self, session: AsyncSession, import_id: int, attempt: int) -> None:
        self._session = session
        self._attempt = {"import_id": import_id, "attempt": attempt}

    async def begin(self, columns: Collection[str]) -> bool:
        """Store the file's column names."""
        return await self._done(_BEGIN, {"columns": list(columns)})

    async def note(self, chunk: ChunkRecord) -> bool:
        """Insert a row with the result of a chunk."""
        return await self._done(_NOTE, asdict(chunk))

    async def note_merged(self, inserted: int, updated: int, unchanged: int) -> bool:
        """Store the totals of all chunks in the first chunk's row, and mark the import succeeded.

        Call this method in the transaction that stores the rows. With two transactions, a crash
        between the two would make a worker load the file again.
        """
        merged = {"inserted": inserted, "updated": updated, "unchanged": unchanged}
        return await self._done(_NOTE_MERGED, merged)

    async def end(self, state: str, error: str | None = None) -> bool:
        """Set the final state of the import."""
        return await self._done(_END, {"state": state, "error": error})

    async def requeue(self, error: str) -> bool:
        """Set the import's state back to `queued`, and store `error` as the reason."""
        return await self._done(_REQUEUE, {"error": error})

    async def retry_later(self, error: str, seconds: float) -> bool:
        """Count a failure, and set the time of the next attempt to `seconds` from now."""
        return await self._done(_RETRY_LATER, {"error": error, "seconds": seconds})

    async def _done(self, statement: Any, parameters: Mapping[str, Any]) -> bool:
        found = await self._session.execute(statement, {**self._attempt, **parameters})
        return found.first() is not None
