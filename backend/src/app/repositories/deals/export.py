"""Exports of all deals that match the filters. Each export is a consistent snapshot."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from app.core.limits import MAX_BIGINT
from app.db.streaming import Lines, SnapshotConnections, Write
from app.repositories.deals.export_lines import file_stretches, json_lines
from app.repositories.deals.filters import bind_parameters

# Exported deals without an `external_id` get ids from the highest block of unused ids that is large
# enough for all deals. Return the last id of the block. The last id is `2**63 - 1`, unless a loaded
# file used ids near `2**63 - 1`.
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

# A COPY format that quotes nothing, because JSON text contains neither of these characters.
_AS_THEY_ARE = Lines(delimiter="\x02", quote="\x01")


class ExportRepository:
    """Exports of deals as CSV or JSON lines."""

    def __init__(self, streams: SnapshotConnections) -> None:
        self._streams = streams

    async def csv(self, filters: Mapping[str, Any], write: Write) -> None:
        """Write the deals as a deals.csv file with a header, sorted by the file's column `id`."""
        stretches = file_stretches(frozenset(filters))
        async with self._streams.snapshot() as snapshot:
            parameters = {**bind_parameters(filters), "last": await snapshot.value(_LAST_FREE_ID)}
            for number, statement in enumerate(stretches):
                await snapshot.copy(statement, parameters, Lines(header=number == 0), write)

    async def ndjson(self, filters: Mapping[str, Any], write: Write) -> None:
        """Write each deal's API response as one JSON line, sorted by `id`."""
        statement = json_lines(frozenset(filters))
        async with self._streams.snapshot() as snapshot:
            await snapshot.copy(statement, bind_parameters(filters), _AS_THEY_ARE, write)
