from collections.abc import Callable, Coroutine
from typing import Any, Literal

from app.repositories.deals.export import ExportRepository
from app.schemas.deals import DealFilters
from app.services.support.pagination import filters_of

ExportFormat = Literal["csv", "ndjson"]


class ExportService:
    """All deals that pass some filters, without pages."""

    def __init__(self, exports: ExportRepository) -> None:
        self._exports = exports

    async def export(
        self,
        form: ExportFormat,
        query: DealFilters,
        write: Callable[[bytes], Coroutine[Any, Any, None]],
    ) -> None:
        """Pass them to `write`, piece by piece, all as they are at one moment.

        Raises:
            TooManyExportsError: as many as may are running; before anything is written.
            ServiceUnavailableError: the database does not answer, or not any more.
        """
        produce = self._exports.csv if form == "csv" else self._exports.ndjson
        await produce(filters_of(query), write)
