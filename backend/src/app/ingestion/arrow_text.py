"""Operations on text columns stored as Arrow arrays.

The type hints of Arrow's compute functions are too narrow. The wrappers below have usable ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

Texts = pa.LargeStringArray

_TEXT = pa.large_string()
_arrow: Any = pa
_compute: Any = pyarrow.compute


def column_of(values: "Sequence[str] | pd.Series[str]") -> Texts:
    """Convert texts to one contiguous Arrow array."""
    array: Any = _arrow.array(values, _TEXT)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    column: Texts = array
    return column


def numerals(numbers: NDArray[np.int64]) -> Texts:
    """Convert integers to decimal texts."""
    column: Texts = _arrow.array(numbers).cast(_TEXT)
    return column


def numbers(column: Texts) -> NDArray[np.int64]:
    """Convert texts to integers. All texts must be decimal integers."""
    values: NDArray[np.int64] = _compute.cast(column, _arrow.int64()).to_numpy()
    return values


def join(separator: str, *columns: Texts) -> Texts:
    """Join the texts of each row with `separator`."""
    column: Texts = _compute.binary_join_element_wise(*columns, _arrow.scalar(separator, _TEXT))
    return column


def end_with(column: Texts, ending: str) -> Texts:
    """Append `ending` to each text."""
    nothing = _arrow.scalar("", _TEXT)
    return join(ending, column, nothing)


def matches(column: Texts, pattern: str) -> NDArray[np.bool_]:
    """Return a mask of the texts that contain a match of `pattern` (RE2 syntax)."""
    return _mask(_compute.match_substring_regex(column, pattern))


def not_greater(left: Texts, right: Texts) -> NDArray[np.bool_]:
    """Return a mask of the rows in which `left` <= `right`. Texts are compared byte by byte."""
    return _mask(_compute.less_equal(left, right))


def replaced(column: Texts, where: NDArray[np.bool_], replacements: Texts) -> Texts:
    """Replace the texts that the mask selects with `replacements`, in order."""
    result: Texts = _compute.replace_with_mask(column, _arrow.array(where), replacements)
    return result


def pick(column: Texts, places: NDArray[np.integer[Any]]) -> Texts:
    """Return the texts at the indices `places`, in that order."""
    result: Texts = column.take(_arrow.array(places))
    return result


def encode(column: Texts) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct texts in order of appearance, and the index of each row's text."""
    encoded: Any = column.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def content(column: Texts) -> bytes:
    """Return the concatenated bytes of all texts."""
    _, offsets, characters = column.buffers()
    if not len(column) or offsets is None or characters is None:
        return b""
    starts = np.frombuffer(memoryview(offsets), np.int64)[column.offset :]
    start, end = int(starts[0]), int(starts[len(column)])
    return characters.slice(start, end - start).to_pybytes()


def _mask(result: Any) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = result.to_numpy(zero_copy_only=False)
    return mask
