"""Background loads of uploaded files, with retries after temporary failures."""

import asyncio
import errno
import logging
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import (
    AppError,
    ConflictError,
    InvalidFileError,
    LoadStoppedError,
    NotFoundError,
    ServiceUnavailableError,
    StorageFullError,
    TemporaryFileError,
)
from app.db.session import Database
from app.ingestion.merge.load_lock import connection_name
from app.repositories.imports.write import AttemptRepository, ImportWriteRepository
from app.repositories.jobs import JobQueue
from app.services.import_journal import ImportJournal, journal_name
from app.services.load_reports import LoadMode, LoadSummary
from app.services.loading import CHUNK_ROWS, LoadingService
from app.storage.uploads import Stored, UploadStore

logger = logging.getLogger(__name__)

# An import fails permanently after this many retryable failures. The back-off between two attempts
# lasts at most `LONGEST_PAUSE` seconds.
MAX_FAILURES = 10
LONGEST_PAUSE = 60
# Maximum number of attempts at an import, because an import may crash its worker in each attempt.
MAX_ATTEMPTS = 100


# Retry only these errors: the database or the storage is unavailable or full, or other writers
# caused too many conflicts. Any other error would occur again.
_RETRYABLE = (ServiceUnavailableError, StorageFullError, ConflictError)
_UNEXPECTED = "The import failed because of an unexpected error; the worker's log has the cause"
_NO_DISK = "The worker could not write its temporary files; the worker's log has the cause"
_NO_RESOURCES = "The worker ran out of memory or met an input/output error; its log has the cause"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


@dataclass(frozen=True)
class _Attempt:
    """One attempt at an import: the file, the options and the attempt's database connections."""

    database: Database
    import_id: int
    number: int
    failures: int
    mode: LoadMode
    chunk_rows: int
    strict: bool
    object_name: str
    upload: Stored
    journal: ImportJournal


class ImportRunner:
    """A service that runs imports in attempts. Each attempt can run in a different process."""

    def __init__(
        self, database: Database, uploads: UploadStore, *, chunk_rows: int = CHUNK_ROWS
    ) -> None:
        self._database = database
        self._uploads = uploads
        self._chunk_rows = chunk_rows

    async def run(self, import_id: int) -> None:
        """Run the next attempt at an import, unless the import has ended.

        After a retryable failure the job ends, so that it does not block other imports during the
        back-off. When the back-off is over, `requeue_orphaned` creates a new job for the import.
        """
        name = connection_name(journal_name(import_id))
        async with self._database.with_application_name(name) as database:
            try:
                attempt = await _claim_attempt(database, import_id, self._chunk_rows)
            except AppError as error:
                logger.warning("import %s could not be begun: %s", import_id, error)
                return
            if attempt is not None:
                await self._work_on(attempt)

    async def _work_on(self, attempt: _Attempt) -> None:
        try:
            await self._load(attempt)
        except LoadStoppedError:
            logger.info("import %s has been stopped", attempt.import_id)
        except InvalidFileError as error:
            await _end(attempt, "failed", str(error))
        except asyncio.CancelledError:
            # The worker is stopping. Requeue the import now, because otherwise no other worker
            # takes the import until this worker has missed several heartbeats.
            with suppress(AppError):
                await asyncio.shield(_requeue(attempt, "The worker was stopped"))
            raise
        except _RETRYABLE as error:
            await _retry_later(attempt, error.message)
        except (TemporaryFileError, OSError, MemoryError) as error:
            # The worker's machine has a problem. Log the error for the operator, and show clients
            # only a summary.
            logger.warning("import %s: %r", attempt.import_id, error)
            await _retry_later(attempt, _worker_problem(error))
        except AppError as error:
            await _end(attempt, "failed", error.message)
        except Exception:
            logger.exception("import %s has failed", attempt.import_id)
            await _end(attempt, "failed", _UNEXPECTED)

    async def requeue_orphaned(self) -> None:
        """Create a job for each import that is due but has no job.

        An import is due when the back-off after its failed attempt is over. An import can also lose
        its job, if a worker that hung marks the job as done after another worker took the job over.
        """
        async with self._database.uow.begin() as session:
            queue = JobQueue(session)
            for found in await queue.find_orphaned_imports():
                await queue.load_import(found.id)
                if found.retried:
                    logger.info("import %s is tried again", found.id)
                else:
                    logger.warning("import %s had no job and is queued again", found.id)

    async def _load(self, attempt: _Attempt) -> None:
        if attempt.number > MAX_ATTEMPTS:
            await _end(
                attempt,
                "failed",
                f"{MAX_ATTEMPTS} attempts were interrupted; see the workers' logs",
            )
            return
        with tempfile.TemporaryDirectory(prefix="deals-import-") as folder:
            path = Path(folder) / "upload"
            await self._fetch(attempt, path)
            loading = LoadingService(attempt.database, attempt.journal)
            try:
                summary = await loading.load(path, mode=attempt.mode, chunk_rows=attempt.chunk_rows)
            except InvalidFileError as error:
                # Remove the worker's local path from the message for the client.
                raise InvalidFileError(str(error).removeprefix(f"{path}: ")) from error
        await _end(attempt, *_ending(attempt, summary))

    async def _fetch(self, attempt: _Attempt, path: Path) -> None:
        """Copy the uploaded file to `path`.

        Raises:
            InvalidFileError: the stored file is missing or differs from the upload.
        """
        try:
            found = await self._uploads.fetch(attempt.object_name, path)
        except NotFoundError as error:
            raise InvalidFileError(str(error)) from error
        if found != attempt.upload:
            raise InvalidFileError(
                "The stored file differs from the uploaded one in size or SHA-256; upload it again"
            )


async def _claim_attempt(database: Database, import_id: int, chunk_rows: int) -> _Attempt | None:
    """Claim the next attempt at an import. Return None if the import cannot be claimed.

    End the connections of earlier attempts first, which carry the import's name. A worker that
    hangs or is unreachable then keeps neither the load lock nor row locks.
    """
    async with database.uow.begin() as session:
        imports = ImportWriteRepository(session)
        await imports.end_connections(connection_name(journal_name(import_id)))
        row = await imports.claim_attempt(import_id, chunk_rows)
        if row is None:
            return None
        mode: LoadMode = "dry-run" if row.dry_run else "strict" if row.strict else "rows"
        if mode != "rows":
            await imports.delete_chunks(import_id)
        lines = await imports.rejected_lines(import_id)
        journal = ImportJournal(database, import_id, row.attempt, lines)
        upload = Stored(row.bytes_total, row.sha256.hex())
        return _Attempt(
            *(database, import_id, row.attempt, row.failures, mode, row.chunk_rows, row.strict),
            *(row.object_name, upload, journal),
        )


async def _retry_later(attempt: _Attempt, error: str) -> None:
    """Schedule a retry, or mark the import as failed after its last attempt.

    If another worker has claimed the import, nothing is stored.
    """
    if attempt.failures + 1 >= MAX_FAILURES:
        await _end(attempt, "failed", error)
        return
    pause = min(2**attempt.failures, LONGEST_PAUSE)
    try:
        async with attempt.database.uow.begin() as session:
            kept = await _store(session, attempt).retry_later(error, pause)
    except AppError as failure:
        logger.warning("import %s waits for the database: %s", attempt.import_id, failure)
        return
    if not kept:
        logger.info("import %s is no longer this worker's: %s", attempt.import_id, error)


async def _requeue(attempt: _Attempt, error: str) -> None:
    async with attempt.database.uow.begin() as session:
        await _store(session, attempt).requeue(error)


async def _end(attempt: _Attempt, state: str, error: str | None) -> None:
    """Store the import's final state. If the database is unavailable, a later attempt stores it."""
    try:
        async with attempt.database.uow.begin() as session:
            await _store(session, attempt).end(state, error)
    except AppError as failure:
        logger.warning("the end of import %s is not stored: %s", attempt.import_id, failure)


def _worker_problem(error: Exception) -> str:
    on_disk = isinstance(error, TemporaryFileError) or getattr(error, "errno", None) in _DISK_ERRORS
    return _NO_DISK if on_disk else _NO_RESOURCES


def _store(session: AsyncSession, attempt: _Attempt) -> AttemptRepository:
    return AttemptRepository(session, attempt.import_id, attempt.number)


def _ending(attempt: _Attempt, summary: LoadSummary) -> tuple[str, str | None]:
    if attempt.strict and summary.rejected:
        rows = "1 row is" if summary.rejected == 1 else f"{summary.rejected} rows are"
        return "failed", f"{rows} rejected, so the strict import loaded nothing"
    return "succeeded", None
