"""Loads of CSV files of deals, used by the CLI, the demo and the import runner."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from app.db.session import Database
from app.ingestion.check.load_warnings import load_warnings
from app.ingestion.check.rejects_file import RejectsFile, check_rejects_path
from app.ingestion.check.seen_ids import SeenIds
from app.ingestion.merge.chunked_load import ChunkLoad
from app.ingestion.merge.journal import Journal, NoJournal
from app.ingestion.merge.load_lock import exclusive_load
from app.ingestion.merge.pipeline import Load, LoadCounters
from app.ingestion.merge.transactional_load import DryRun, StrictLoad
from app.ingestion.read.chunks import inspect
from app.ingestion.read.header import Header
from app.ingestion.read.source import opened
from app.services.load_reports import LoadMode, LoadProgress, LoadSummary

# Rows per transaction. Larger transactions were measured to be no faster, and they block other
# writers for longer.
CHUNK_ROWS = 10_000

_KINDS: Mapping[LoadMode, type[Load]] = {
    "rows": ChunkLoad,
    "strict": StrictLoad,
    "dry-run": DryRun,
}


class LoadingService:
    """A service that loads files into one database.

    With a journal, a load skips chunks that earlier attempts stored.
    """

    def __init__(self, database: Database, journal: Journal | None = None) -> None:
        self._database = database
        self._journal = journal or NoJournal()

    async def load(
        self,
        path: Path,
        *,
        mode: LoadMode = "rows",
        rejects: Path | None = None,
        progress: Callable[[LoadProgress], None] | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> LoadSummary:
        """Load the valid rows of `path`. To complete an interrupted load, load the file again.

        Strict mode stores rows only if no row is rejected. A dry run stores nothing, and returns
        the summary that a real load would return. Loads into one database run one at a time.

        Rejected rows are written to the file `rejects`, if given. If no row is rejected, an older
        rejects file is removed. Chunks that an earlier attempt recorded in the journal are neither
        loaded again nor counted in the summary.

        Raises:
            InvalidFileError: the file cannot be loaded. Nothing is stored.
            DealsError: the rejects cannot be written, or `rejects` is a file of another kind.
            ServiceUnavailableError: the database became unavailable. Complete chunks may be stored.
            ConflictError: other writers repeatedly changed the same hotels or deals.
            LoadStoppedError: the import was cancelled, or another worker has taken it over.
        """
        started = time.monotonic()
        header = await asyncio.to_thread(_inspected, path, rejects)
        await self._journal.begin(header)
        with opened(path) as source:

            def report(counters: LoadCounters) -> None:
                if progress:
                    progress(LoadProgress(counters.bytes_read, source.bytes_total, counters.rows))

            async with exclusive_load(self._database, self._journal.name) as load_lock:
                with SeenIds() as seen, RejectsFile(rejects, header, path) as rejected:
                    load = _KINDS[mode](
                        self._database, load_lock, seen, rejected, self._journal, report
                    )
                    report(load.counters)
                    await load.run(source, header, chunk_rows)
                    await load.refresh_statistics()
                    load.counters.bytes_read = source.bytes_total
                    report(load.counters)
        seconds = time.monotonic() - started
        return _summary(load.counters, header, rejects, rejected.count, seconds)


def _inspected(path: Path, rejects: Path | None) -> Header:
    if rejects:
        check_rejects_path(rejects, path)
    return inspect(path)


def _summary(
    counters: LoadCounters, header: Header, rejects: Path | None, rejected: int, seconds: float
) -> LoadSummary:
    stored = counters.inserted + counters.updated + counters.unchanged
    return LoadSummary(
        rows_read=counters.rows,
        inserted=counters.inserted,
        updated=counters.updated,
        unchanged=counters.unchanged,
        duplicates=counters.duplicates,
        rejected=rejected,
        ignored_columns=header.ignored,
        rejects_file=rejects if rejected else None,
        seconds=seconds,
        held_back=counters.rows - stored - counters.duplicates - rejected,
        warnings=load_warnings(counters.warnings),
    )
