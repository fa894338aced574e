"""Output of the `deals` command: progress bars in a terminal, plain lines in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from app.services.load_reports import LoadProgress, LoadSummary

stdout = Console(soft_wrap=True, highlight=False)
stderr = Console(stderr=True, soft_wrap=True, highlight=False)


@contextmanager
def rows_bar(description: str, rows: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar of rows. Yield a function that sets the number of finished rows."""
    with _bar(MofNCompleteColumn()) as progress:
        task = progress.add_task(description, total=rows)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def load_bar(description: str) -> Iterator[Callable[[LoadProgress], None]]:
    """Show a progress bar of bytes and rows. Yield a function that sets the progress."""
    with _bar(DownloadColumn(), TextColumn("{task.fields[rows]:,} rows")) as progress:
        task = progress.add_task(escape(description), total=None, rows=0)

        def update(done: LoadProgress) -> None:
            progress.update(
                task, completed=done.bytes_read, total=done.bytes_total, rows=done.rows_read
            )

        yield update


def _bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar on stderr. It is hidden if stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeElapsedColumn(),
        console=stderr,
        disable=not stderr.is_terminal,
    )


def print_summary(summary: LoadSummary) -> None:
    """Print the counts of a load, its warnings, and the path of the rejects file."""
    stdout.print(
        f"{summary.rows_read:,} rows in {summary.seconds:.2f} s: "
        f"{summary.inserted:,} inserted, {summary.updated:,} updated, "
        f"{summary.unchanged:,} unchanged, {summary.duplicates:,} duplicates, "
        f"{summary.rejected:,} rejected"
    )
    for warning in summary.warnings:
        stdout.print(f"warning: {warning.message} ({_rows(warning.rows)})", markup=False)
    if summary.ignored_columns:
        stdout.print(f"ignored columns: {', '.join(summary.ignored_columns)}", markup=False)
    if summary.rejects_file is not None:
        stdout.print(f"rejected rows are in {summary.rejects_file}", markup=False)


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"
