import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import AppError, ConflictError, NotFoundError, ServiceUnavailableError
from app.db.notifications import Listener
from app.db.unit_of_work import UnitOfWork
from app.ingestion.check.load_warnings import load_warnings
from app.ingestion.check.rejects import RejectsLayout, as_csv, first_rows
from app.ingestion.columns import NAMES
from app.repositories.imports.read import (
    ORDER,
    ImportReadRepository,
    ImportRow,
    RejectsChunk,
)
from app.repositories.imports.write import ImportWriteRepository, NewImport
from app.repositories.jobs import JobQueue
from app.schemas.common import PaginatedResponse
from app.schemas.imports import FINAL_STATES, ImportOptions, ImportQuery, ImportResponse
from app.services.support.cursors import CursorCodec
from app.services.support.pagination import PageRequest
from app.storage.uploads import Stored, UploadStore

# The event stream of an import reads the database at least every `LONGEST_SILENCE` seconds, and
# waits at least `SHORTEST_PAUSE` seconds between two reads.
LONGEST_SILENCE = 5.0
SHORTEST_PAUSE = 0.2


@dataclass(frozen=True)
class Upload:
    """An uploaded file: its content, its name on the client, and the actor that sent it."""

    content: AsyncIterator[bytes]
    file_name: str | None
    actor: str


class ImportService:
    """A service that accepts uploads and reports on imports.

    Each method opens its own short transactions, because an upload may take minutes and must not
    hold a connection.
    """

    def __init__(
        self, uow: UnitOfWork, uploads: UploadStore, cursors: CursorCodec, listener: Listener
    ) -> None:
        self._uow = uow
        self._uploads = uploads
        self._cursors = cursors
        self._listener = listener

    async def submit(self, upload: Upload, options: ImportOptions) -> tuple[ImportResponse, bool]:
        """Store a file and queue its import. Return the import and whether the import is new.

        If an import of the same bytes is queued, running or succeeded, that import is returned
        unless `force` is set. A dry run always creates a new import, because the result of a dry
        run depends on the stored deals.

        Raises:
            InvalidInputError: the body has no file, or the file is incomplete.
            StorageUnavailableError: the storage does not answer. Nothing is kept.
            StorageFullError: the storage has no space for the file.
        """
        name = uuid4().hex
        stored = await self._uploads.put(name, upload.content)
        kept = False
        try:
            async with self._uow.begin() as session:
                import_id, kept = await _enqueue(session, name, stored, upload, options)
                # Keep the file from here on. The import may exist even if PostgreSQL's response to
                # the commit is lost.
        finally:
            if not kept:
                # If the removal fails, housekeeping removes the file later.
                with suppress(AppError):
                    await asyncio.shield(self._uploads.remove(name))
        return await self.get(import_id), kept

    async def page(self, query: ImportQuery) -> PaginatedResponse[ImportResponse]:
        """Return the page of imports that `query` selects.

        Raises:
            InvalidInputError: the cursor is invalid or belongs to another query.
        """
        request = PageRequest.of("imports", query, ORDER, self._cursors)
        total, rows = await self._uow.run(
            lambda session: ImportReadRepository(session).page(
                request.filters, request.place, query.counting
            )
        )
        items = [_import(row) for row in rows]
        return request.response(total, items, lambda item, _: item["id"])

    async def get(self, import_id: int) -> ImportResponse:
        """Return the import with the id `import_id`.

        Raises:
            NotFoundError: no import has this id.
        """
        return _import(await self._stored(import_id))

    async def cancel(self, import_id: int) -> ImportResponse:
        """Cancel an import. Keep the rows that it has stored, and return their counts.

        Raises:
            NotFoundError: no import has this id.
            ConflictError: the import has already succeeded or failed.
        """
        cancelled = await self._uow.run(
            lambda session: ImportWriteRepository(session).cancel(import_id)
        )
        found = await self.get(import_id)
        if not cancelled and found["state"] != "cancelled":
            raise ConflictError(f"Import {import_id} has already {found['state']}")
        return found

    async def changes(self, import_id: int) -> AsyncIterator[ImportResponse]:
        """Yield the import at once and after each change, until the import has ended.

        While the database is unavailable, the iterator waits.

        Raises:
            NotFoundError: no import has this id.
        """
        told: ImportResponse | None = None
        with self._listener.subscribed(str(import_id)) as subscription:
            while not self._listener.closed:
                # Keep the stream open during an outage. If a browser reconnected and received a
                # 503, the browser would not try again.
                found = told
                with suppress(ServiceUnavailableError):
                    # Shield the read: cancelling it would not stop the statement on the server.
                    found = await asyncio.shield(self.get(import_id))
                if found is not None and (told is None or _progress(found) != _progress(told)):
                    told = found
                    yield found
                if told is not None and told["state"] in FINAL_STATES:
                    return
                await asyncio.sleep(SHORTEST_PAUSE)
                await subscription.wait(LONGEST_SILENCE)

    async def rejects(self, import_id: int) -> AsyncIterator[bytes]:
        """Return the rows rejected so far as CSV: first the header, then one piece per chunk.

        Raises:
            NotFoundError: no import has this id, or its rejected rows have expired.
        """
        row = await self._stored(import_id)
        if row.rejected and not row.rejects_kept:
            raise NotFoundError(
                f"The rejected rows of import {import_id} have expired and are deleted"
            )
        return self._rejects(import_id, row.columns or NAMES)

    async def first_rejects(self, import_id: int, most: int) -> list[list[str]]:
        """Return the CSV header and the first `most` rejected rows. The first column is the reason.

        Raises:
            NotFoundError: no import has this id, or its rejected rows have expired.
        """
        rows: list[list[str]] = []
        async for piece in await self.rejects(import_id):
            rows += first_rows(piece, most + 1 - len(rows))
            if len(rows) > most:
                break
        return rows

    async def _rejects(self, import_id: int, columns: Sequence[str]) -> AsyncIterator[bytes]:
        yield as_csv([RejectsLayout(columns).header])
        chunk = await self._next_rejects(import_id, -1)
        while chunk is not None:
            yield await asyncio.to_thread(gzip.decompress, chunk.compressed)
            chunk = await self._next_rejects(import_id, chunk.number)

    async def _next_rejects(self, import_id: int, after: int) -> RejectsChunk | None:
        return await self._uow.run(
            lambda session: ImportReadRepository(session).next_rejects(import_id, after)
        )

    async def _stored(self, import_id: int) -> ImportRow:
        row = await self._uow.run(lambda session: ImportReadRepository(session).get(import_id))
        if row is None:
            raise NotFoundError(f"Import {import_id} does not exist")
        return row


async def _enqueue(
    session: AsyncSession, name: str, stored: Stored, upload: Upload, options: ImportOptions
) -> tuple[int, bool]:
    """Return an import's id, and whether the import is new.

    If an earlier import has the same bytes, return that import unless `force` or `dry_run` is set.
    Otherwise create an import and its job.
    """
    imports = ImportWriteRepository(session)
    sha256 = bytes.fromhex(stored.sha256)
    if not options.force and not options.dry_run:
        same = await imports.find_same(sha256, strict=options.strict)
        if same is not None:
            return same, False
    new = NewImport(
        strict=options.strict,
        dry_run=options.dry_run,
        file_name=upload.file_name,
        object_name=name,
        bytes_total=stored.bytes,
        sha256=sha256,
        created_by=upload.actor,
    )
    import_id = await imports.add(new)
    await JobQueue(session).load_import(import_id)
    return import_id, True


def _progress(found: ImportResponse) -> tuple[Any, ...]:
    return (
        found["state"],
        found["rows_read"],
        found["inserted"],
        found["error"],
        found["retry_at"],
    )


def _import(row: ImportRow) -> ImportResponse:
    decided = row.inserted + row.updated + row.unchanged + row.duplicates + row.rejected
    warnings = sum(map(Counter[str], json.loads(row.warnings or "[]")), Counter[str]())
    path = f"/imports/{row.id}"
    return {
        "id": row.id,
        "state": row.state,
        "file_name": row.file_name,
        "strict": row.strict,
        "dry_run": row.dry_run,
        "bytes_total": row.bytes_total,
        "bytes_read": row.bytes_total if row.state == "succeeded" else row.bytes_read,
        "sha256": row.sha256.hex(),
        "rows_read": row.rows_read,
        "inserted": row.inserted,
        "updated": row.updated,
        "unchanged": row.unchanged,
        "duplicates": row.duplicates,
        "rejected": row.rejected,
        "held_back": row.rows_read - decided,
        "rows_per_second": round(row.rows_read / float(row.seconds), 1) if row.seconds else 0.0,
        "warnings": [
            {"code": each.code, "message": each.message, "rows": each.rows}
            for each in load_warnings(warnings)
        ],
        "ignored_columns": [name for name in row.columns or () if name not in NAMES],
        "error": row.error,
        "retry_at": row.retry_at if row.state == "queued" else None,
        "created_by": row.created_by,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "links": {
            "self": path,
            "events": f"{path}/events",
            "rejects": f"{path}/rejects" if row.rejects_kept else None,
        },
    }
