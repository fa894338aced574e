"""Columns of text as Arrow arrays: the few operations that checks, COPY and the generator share.

Arrow's compute functions are typed more narrowly than they are; this module is where that ends.
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
    """One array, whatever the values came as."""
    array: Any = _arrow.array(values, _TEXT)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    column: Texts = array
    return column


def numerals(numbers: NDArray[np.int64]) -> Texts:
    """Integers in decimal."""
    column: Texts = _arrow.array(numbers).cast(_TEXT)
    return column


def numbers(column: Texts) -> NDArray[np.int64]:
    """The integers that the texts, all of them, are."""
    values: NDArray[np.int64] = _compute.cast(column, _arrow.int64()).to_numpy()
    return values


def join(separator: str, *columns: Texts) -> Texts:
    """Row by row, the columns' texts with `separator` between them."""
    column: Texts = _compute.binary_join_element_wise(*columns, _arrow.scalar(separator, _TEXT))
    return column


def end_with(column: Texts, ending: str) -> Texts:
    """Each text with `ending` after it."""
    nothing = _arrow.scalar("", _TEXT)
    return join(ending, column, nothing)


def matches(column: Texts, pattern: str) -> NDArray[np.bool_]:
    """Where `pattern` (RE2) occurs."""
    return _mask(_compute.match_substring_regex(column, pattern))


def not_greater(left: Texts, right: Texts) -> NDArray[np.bool_]:
    """Where `left` sorts before `right` or is equal, byte by byte."""
    return _mask(_compute.less_equal(left, right))


def replaced(column: Texts, where: NDArray[np.bool_], replacements: Texts) -> Texts:
    """`column` with `replacements`, in order, where the mask is set."""
    result: Texts = _compute.replace_with_mask(column, _arrow.array(where), replacements)
    return result


def pick(column: Texts, places: NDArray[np.integer[Any]]) -> Texts:
    """The texts at `places`, in their order."""
    result: Texts = column.take(_arrow.array(places))
    return result


def encode(column: Texts) -> tuple[list[str], NDArray[np.int64]]:
    """The different texts of a column, in order of appearance, and which one each row has."""
    encoded: Any = column.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def content(column: Texts) -> bytes:
    """The texts end to end, as Arrow keeps them."""
    _, offsets, characters = column.buffers()
    if not len(column) or offsets is None or characters is None:
        return b""
    starts = np.frombuffer(memoryview(offsets), np.int64)[column.offset :]
    start, end = int(starts[0]), int(starts[len(column)])
    return characters.slice(start, end - start).to_pybytes()


def _mask(result: Any) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = result.to_numpy(zero_copy_only=False)
    return mask
