"""Conversion of rows to the text format of PostgreSQL's COPY command."""

from collections.abc import Mapping

import numpy as np

from app.ingestion import arrow_text
from app.ingestion.check.validated_chunk import Hotel, ValidatedChunk


def copy_lines(
    work: ValidatedChunk, hotel_ids: Mapping[Hotel, int], category_ids: Mapping[str, int]
) -> bytes:
    """Return one line per row for the table `staged_deals`: deal, hotel id and category ids."""
    ids_of_hotels = np.array([hotel_ids.get(hotel, 0) for hotel in work.hotels], dtype=np.int64)
    used = set(np.unique(work.category_set).tolist())
    arrays = [
        _array(names, category_ids) if index in used else ""
        for index, names in enumerate(work.category_sets)
    ]
    lines = arrow_text.join(
        "\t",
        work.deals,
        arrow_text.numerals(ids_of_hotels[work.hotel]),
        arrow_text.pick(arrow_text.column_of(arrays), work.category_set),
    )
    return arrow_text.content(arrow_text.end_with(lines, "\n"))


def _array(names: tuple[str, ...], category_ids: Mapping[str, int]) -> str:
    """Return the sorted category ids as text of a bigint[], so that equal sets have equal text."""
    return "{" + ",".join(map(str, sorted(category_ids[name] for name in names))) + "}"
