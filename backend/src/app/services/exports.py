from collections.abc import Callable, Coroutine
from typing import Any, Literal

from app.repositories.deals.export import ExportRepository
from app.schemas.deals import DealFilters
from app.services.support.pagination import filters_of

ExportFormat = Literal["csv", "ndjson"]


class ExportService:
    """A service that exports all deals that match the filters."""

    def __init__(self, exports: ExportRepository) -> None:
        self._exports = exports

    async def export(
        self,
        form: ExportFormat,
        query: DealFilters,
        write: Callable[[bytes], Coroutine[Any, Any, None]],
    ) -> None:
        """Pass the matching deals to `write`, piece by piece, from one database snapshot.

        Raises:
            TooManyExportsError: too many exports are running. Nothing is written.
            ServiceUnavailableError: the database does not answer, or the connection is lost.
        """
        produce = self._exports.csv if form == "csv" else self._exports.ndjson
        await produce(filters_of(query), write)
