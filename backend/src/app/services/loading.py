"""Loading a deals.csv: the one way in, for the CLI and the demo."""

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

# Rows of a transaction. Measured: larger ones gain nothing, and hold other writers up for longer.
CHUNK_ROWS = 10_000

_KINDS: Mapping[LoadMode, type[Load]] = {
    "rows": ChunkLoad,
    "strict": StrictLoad,
    "dry-run": DryRun,
}


class LoadingService:
    """Loads files into one database; without a journal, each as if for the first time."""

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
        """Load the rows of `path` that are right; loading it again finishes what was cut off.

        When strict, rows are stored only if none is rejected; in a dry run none is, and the summary
        says what would have been. Rejected rows are written to `rejects`, when given; with none, an
        older rejects file of that name is removed. A second load of the same database waits for
        the first. What the journal has of an earlier attempt is not loaded again, nor in the
        summary.

        Raises:
            InvalidFileError: the file as a whole cannot be loaded; nothing was.
            DealsError: the rejects cannot be written, or would replace something else.
            ServiceUnavailableError: the database went away; whole chunks may be stored.
            ConflictError: other writers kept changing the same hotels or deals.
            LoadStoppedError: the journal says that the load is not to go on.
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
