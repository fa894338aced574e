"""The validation of chunks column by column, which separates valid rows from rejects.

A column is checked with one regular expression for all its fields, or by applying its rule once to
each *distinct* field. For example, 50,000 rows have 150 phones and five star ratings.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Text

from app.ingestion import arrow_text, columns, rules
from app.ingestion.arrow_text import Texts
from app.ingestion.check.rejects import Reject
from app.ingestion.check.validated_chunk import ColumnReason, Hotel, ValidatedChunk, rejects_of
from app.ingestion.read.chunks import Chunk
from app.ingestion.read.header import Header
from app.ingestion.rules import RejectReason, Rule
from app.repositories.deals.columns import TABLE
from app.schemas.deals_csv import CATEGORIES, DEAL_COLUMNS

# A function that maps category names to lower case in the database. Worker threads call it.
FoldCategories = Callable[[Collection[str]], Mapping[str, str]]

_ONE_PLACE = r"\.[0-9]$"
# The text columns of deals. They may contain characters that must be escaped for COPY.
_FREE_TEXT = {
    name for name, column in DEAL_COLUMNS.items() if isinstance(TABLE.c[column].type, Text)
}
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


@dataclass(frozen=True, slots=True)
class _Column:
    """A checked column: canonical texts ("" for an invalid field) and problems by row index."""

    name: str
    texts: Texts
    problems: dict[int, RejectReason]


def check(chunk: Chunk, header: Header, fold: FoldCategories, hash_key: str) -> ValidatedChunk:
    """Check all columns of `chunk`. A row with invalid fields is rejected for the first of them.

    `hash_key` is a random key of 16 characters for the row hashes of one load. Because the key is
    secret, an attacker cannot craft two different rows with the same hash.
    """
    fields = {
        name: arrow_text.column_of(chunk.frame[str(place)])
        for name, place in header.positions.items()
    }
    checked = {column.name: _check(column, fields[column.name]) for column in columns.SCALARS}
    _check_dates(checked)
    categories, category_sets, category_set = _check_categories(fields[CATEGORIES], fold)
    checked[categories.name] = categories

    reasons: dict[int, ColumnReason] = {}
    for name in columns.NAMES:
        for place, problem in checked[name].problems.items():
            reasons.setdefault(place, (name, problem))
    misshapen = [_misshapen(record.line, record.fields, header) for record in chunk.misshapen]

    rows = np.setdiff1d(np.arange(len(chunk.frame)), list(reasons), assume_unique=True)
    good = {name: arrow_text.pick(column.texts, rows) for name, column in checked.items()}
    hotels, hotel = _hotels(good)
    deals = _deals(good)
    return ValidatedChunk(
        chunk=chunk,
        rows=rows,
        ids=arrow_text.numbers(good[columns.ID]),
        hashes=_hashes(deals, good, hash_key),
        deals=deals,
        hotels=hotels,
        hotel=hotel,
        category_sets=category_sets,
        category_set=category_set[rows],
        rejects=rejects_of(chunk, reasons) + misshapen,
    )


def _check(column: columns.Column, values: Texts) -> _Column:
    if column.usual is None:
        return _Column(column.name, *_by_distinct_value(values, column.rule))
    unusual = ~arrow_text.matches(values, column.usual)
    problems: dict[int, RejectReason] = {}
    if unusual.any():
        places = np.flatnonzero(unusual)
        fixed, found = _by_distinct_value(arrow_text.pick(values, places), column.rule)
        values = arrow_text.replaced(values, unusual, fixed)
        problems = {int(places[index]): problem for index, problem in found.items()}
    if column.is_price:
        one_place = arrow_text.matches(values, _ONE_PLACE)
        padded = arrow_text.end_with(arrow_text.pick(values, np.flatnonzero(one_place)), "0")
        values = arrow_text.replaced(values, one_place, padded)
    return _Column(column.name, values, problems)


def _by_distinct_value(values: Texts, rule: Rule) -> tuple[Texts, dict[int, RejectReason]]:
    distinct, indices = arrow_text.encode(values)
    outcomes = [rule(value) for value in distinct]
    canonical = ["" if isinstance(outcome, RejectReason) else outcome for outcome in outcomes]
    return arrow_text.pick(arrow_text.column_of(canonical), indices), _problems(outcomes, indices)


def _problems(outcomes: Sequence[object], indices: NDArray[np.int64]) -> dict[int, RejectReason]:
    """Map the index of each row with an invalid field to the field's problem.

    `outcomes` holds the result for each distinct field, and `indices` the distinct field of each
    row.
    """
    bad = {i: outcome for i, outcome in enumerate(outcomes) if isinstance(outcome, RejectReason)}
    if not bad:
        return {}
    places = np.flatnonzero(np.isin(indices, list(bad)))
    return {int(place): bad[int(indices[place])] for place in places}


def _check_dates(checked: Mapping[str, _Column]) -> None:
    """Reject rows whose checkout is not after check-in. ISO dates can be compared as texts."""
    checkin, checkout = checked[columns.CHECKIN_DATE], checked[columns.CHECKOUT_DATE]
    for place in np.flatnonzero(arrow_text.not_greater(checkout.texts, checkin.texts)).tolist():
        if place not in checkin.problems:
            checkout.problems.setdefault(place, rules.CHECKOUT_BEFORE_CHECKIN)


def _check_categories(
    values: Texts, fold: FoldCategories
) -> tuple[_Column, list[tuple[str, ...]], NDArray[np.int64]]:
    """Return the checked column, the distinct category sets, and the index of each row's set."""
    distinct, indices = arrow_text.encode(values)
    named = [rules.category_names(value) for value in distinct]
    folded = fold(
        {name for names in named if not isinstance(names, RejectReason) for name in names}
    )
    outcomes = [
        names if isinstance(names, RejectReason) else rules.category_set([folded[n] for n in names])
        for names in named
    ]
    sets = [() if isinstance(outcome, RejectReason) else outcome for outcome in outcomes]
    # The row hash contains this text. NUL separates the names, because names may contain commas but
    # no NUL.
    joined = arrow_text.column_of(["\0".join(names) for names in sets])
    problems = _problems(outcomes, indices)
    return _Column(CATEGORIES, arrow_text.pick(joined, indices), problems), sets, indices


def _hotels(good: Mapping[str, Texts]) -> tuple[list[Hotel], NDArray[np.int64]]:
    """Return the distinct hotels in order of appearance, and the index of each row's hotel."""
    frame = pd.DataFrame({name: arrow_text.encode(good[name])[1] for name in columns.HOTEL})
    hotel = np.asarray(frame.groupby(list(frame.columns), sort=False).ngroup(), dtype=np.int64)
    _, first = np.unique(hotel, return_index=True)
    parts = (arrow_text.pick(good[name], first).to_pylist() for name in columns.HOTEL)
    return [Hotel(*part) for part in zip(*parts, strict=True)], hotel


def _deals(good: Mapping[str, Texts]) -> Texts:
    """Return each row's deal columns as tab-separated text for COPY."""
    return arrow_text.join(
        "\t",
        *(_escaped(good[name]) if name in _FREE_TEXT else good[name] for name in DEAL_COLUMNS),
    )


def _escaped(texts: Texts) -> Texts:
    """Escape texts for COPY. Each distinct text is escaped only once."""
    distinct, indices = arrow_text.encode(texts)
    escaped = arrow_text.column_of([value.translate(_ESCAPES) for value in distinct])
    return arrow_text.pick(escaped, indices)


def _hashes(deals: Texts, good: Mapping[str, Texts], key: str) -> NDArray[np.uint64]:
    """Return the SipHash of each row's fields. NUL, which no field contains, separates them."""
    hotel = (good[name] for name in columns.HOTEL)
    whole = arrow_text.join("\0", deals, *hotel, good[CATEGORIES])
    values: NDArray[np.object_] = whole.to_numpy(zero_copy_only=False)
    return pd.util.hash_array(values, hash_key=key, categorize=False)


def _misshapen(line: int, fields: list[str], header: Header) -> Reject:
    message = f"the header has {len(header.names)} fields, this record {len(fields)}"
    return Reject(line, "", RejectReason("wrong_field_count", message), fields)
