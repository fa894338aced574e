"""The page of average prices by city: a chart and a table."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import InvalidInputError
from app.http.state import service_state
from app.schemas.deals import CityStatsResponse, StatisticsQuery
from app.web.html import html_page, page
from app.web.queries import ParsedQuery, SortLink, sort_link

PATH = "/dashboard/cities"

_COLUMNS: dict[str, Callable[[CityStatsResponse], Any]] = {
    "city": lambda each: each["city"].casefold(),
    "avg_price": lambda each: Decimal(each["avg_price"]),
    "deal_count": lambda each: each["deal_count"],
}


class CitiesQuery(StatisticsQuery):
    """Query parameters of the page: those of the API, a sort order and the values to chart."""

    sort: Literal["city", "-city", "avg_price", "-avg_price", "deal_count", "-deal_count"] = (
        "-deal_count"
    )
    chart: Annotated[
        Literal["avg_price", "deal_count"], Field(description="Values of the bars")
    ] = "avg_price"


@html_page
async def cities(request: Request) -> Response:
    """Return the page of all cities. The cities are few, so this sorts them in memory."""
    asked = ParsedQuery.of(CitiesQuery, request.query_params)
    rows = None
    if (query := asked.query) is not None:
        rows = await service_state(request).deals.statistics_by_city(
            available_only=query.available_only
        )
        value = _COLUMNS[query.sort.removeprefix("-")]
        rows.sort(key=value, reverse=query.sort.startswith("-"))
    context = {
        "section": "cities",
        "asked": asked,
        "chart": query.chart if query else "avg_price",
        "rows": rows,
        "sort_links": {name: _sort_link(asked, name) for name in _COLUMNS},
        "highest": {
            name: max((float(_COLUMNS[name](row)) for row in rows or ()), default=1)
            for name in ("avg_price", "deal_count")
        },
        "path": PATH,
    }
    status = 200 if rows is not None else InvalidInputError.status
    return page(request, "cities.html", context, status=status)


def _sort_link(asked: ParsedQuery[CitiesQuery], name: str) -> SortLink:
    now = asked.query.sort if asked.query else ""
    return sort_link(asked, PATH, name, now, descending_first=name != "city")
