"""An exact set of the ids that a load has accepted. The set needs only limited memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.core.errors import TemporaryFileError

_RUN_ROWS = 1 << 18

Ids = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Run:
    """A run in the temporary file: sorted ids, followed by the hashes of their rows."""

    minimum: int
    maximum: int
    offset: int
    rows: int


class SeenIds:
    """The ids of accepted rows, with a 64-bit keyed hash of each row.

    Up to about `_RUN_ROWS` of the latest ids stay in memory. Older ids are stored in a temporary
    file as sorted runs (80 MB for five million rows). A look-up reads only those runs whose range
    of ids overlaps the range of the wanted ids. If the loaded file is sorted by id, as most files
    are, no run is read.
    """

    def __init__(self) -> None:
        with _temporary_file_errors():
            self._file = tempfile.TemporaryFile(prefix="deals-load-")  # noqa: SIM115 - see __exit__
        self._runs: list[_Run] = []
        self._recent: list[tuple[Ids, Hashes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, ids: Ids, hashes: Hashes) -> None:
        """Add the ids and hashes of rows. No id may be added twice.

        Raises:
            TemporaryFileError: the disk of temporary files is full.
        """
        if not len(ids):
            return
        order = np.argsort(ids, kind="stable")
        self._recent.append((ids[order], hashes[order]))
        if sum(len(recent) for recent, _ in self._recent) >= _RUN_ROWS:
            self._write()

    def find(self, ids: Ids) -> dict[int, int]:
        """Look up `ids`, and map each id that was added before to the hash of its row."""
        wanted = np.unique(ids)
        found: dict[int, int] = {}
        if not len(wanted):
            return found
        minimum, maximum = wanted[0], wanted[-1]
        for recent, hashes in self._recent:
            if recent[0] <= maximum and recent[-1] >= minimum:
                _collect(found, wanted, recent, hashes)
        for run in self._runs:
            if run.minimum <= maximum and run.maximum >= minimum:
                _collect(found, wanted, *self._read(run))
        return found

    def _write(self) -> None:
        ids = np.concatenate([ids for ids, _ in self._recent])
        hashes = np.concatenate([hashes for _, hashes in self._recent])
        order = np.argsort(ids, kind="stable")
        with _temporary_file_errors():
            offset = self._file.seek(0, 2)
            self._file.write(ids[order].tobytes())
            self._file.write(hashes[order].tobytes())
            self._file.flush()
        self._runs.append(_Run(int(ids[order[0]]), int(ids[order[-1]]), offset, len(ids)))
        self._recent = []

    def _read(self, run: _Run) -> tuple[Ids, Hashes]:
        self._file.seek(run.offset)
        ids = np.frombuffer(self._file.read(8 * run.rows), np.int64)
        return ids, np.frombuffer(self._file.read(8 * run.rows), np.uint64)


@contextmanager
def _temporary_file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TemporaryFileError(
            f"{tempfile.gettempdir()}: cannot write a temporary file: {error.strerror or error}"
        ) from error


def _collect(found: dict[int, int], wanted: Ids, ids: Ids, hashes: Hashes) -> None:
    places = np.searchsorted(ids, wanted)
    places[places == len(ids)] = 0
    for index in np.flatnonzero(ids[places] == wanted):
        found[int(wanted[index])] = int(hashes[places[index]])
