"""All deals that pass some filters, each export in one snapshot."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from app.core.limits import MAX_BIGINT
from app.db.streaming import Lines, SnapshotConnections, Write
from app.repositories.deals.export_lines import file_stretches, json_lines
from app.repositories.deals.filters import bind_parameters

# The last of as many unused ids as there may be deals, the highest such: `2**63 - 1` unless files
# with such ids were loaded. A deal that has no id from a file gets one of these in a file.
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

# JSON has neither of these characters, so that COPY has nothing to quote.
_AS_THEY_ARE = Lines(delimiter="\x02", quote="\x01")


class ExportRepository:
    """Deals without pages."""

    def __init__(self, streams: SnapshotConnections) -> None:
        self._streams = streams

    async def csv(self, filters: Mapping[str, Any], write: Write) -> None:
        """A header, and the deals as a load reads them, in the order of their id in the file."""
        stretches = file_stretches(frozenset(filters))
        async with self._streams.snapshot() as snapshot:
            parameters = {**bind_parameters(filters), "last": await snapshot.value(_LAST_FREE_ID)}
            for number, statement in enumerate(stretches):
                await snapshot.copy(statement, parameters, Lines(header=number == 0), write)

    async def ndjson(self, filters: Mapping[str, Any], write: Write) -> None:
        """A line for each deal, to the letter as the API shows it, in the order of its id."""
        statement = json_lines(frozenset(filters))
        async with self._streams.snapshot() as snapshot:
            await snapshot.copy(statement, bind_parameters(filters), _AS_THEY_ARE, write)
