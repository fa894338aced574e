"""Exports: all deals that pass the filters, each export in one snapshot."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from app.core.limits import MAX_BIGINT
from app.db.streaming import Lines, SnapshotConnections, Write
from app.repositories.deals.export_lines import file_stretches, json_lines
from app.repositories.deals.filters import bind_parameters

# Returns the last id of the highest block of unused file ids that is large enough for all deals. It
# is `2**63 - 1` unless files with such ids were loaded. An exported deal without an `external_id`
# gets an id from this block.
_LAST_FREE_ID = text(
    f"""
    WITH RECURSIVE tried (last) AS (
        SELECT CAST({MAX_BIGINT} AS bigint)
        UNION ALL
        SELECT (
            SELECT min(external_id) - 1 FROM deals
            WHERE external_id <= tried.last
            AND external_id > tried.last - (SELECT max(id) FROM deals)
        )
        FROM tried WHERE tried.last IS NOT NULL
    )
    SELECT min(last) FROM tried
    """  # noqa: S608 - a constant
)

# JSON text contains neither of these characters, so COPY quotes nothing.
_AS_THEY_ARE = Lines(delimiter="\x02", quote="\x01")


class ExportRepository:
    """The exports of deals."""

    def __init__(self, streams: SnapshotConnections) -> None:
        self._streams = streams

    async def csv(self, filters: Mapping[str, Any], write: Write) -> None:
        """Write a header and the deals in the format of a deals.csv, by their id in the file."""
        stretches = file_stretches(frozenset(filters))
        async with self._streams.snapshot() as snapshot:
            parameters = {**bind_parameters(filters), "last": await snapshot.value(_LAST_FREE_ID)}
            for number, statement in enumerate(stretches):
                await snapshot.copy(statement, parameters, Lines(header=number == 0), write)

    async def ndjson(self, filters: Mapping[str, Any], write: Write) -> None:
        """Write one JSON line for each deal, identical to its API response, in order of `id`."""
        statement = json_lines(frozenset(filters))
        async with self._streams.snapshot() as snapshot:
            await snapshot.copy(statement, bind_parameters(filters), _AS_THEY_ARE, write)
