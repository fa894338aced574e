"""The page of deals: a table with all filters and sort orders of the API."""

from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import InvalidInputError
from app.http.state import service_state
from app.schemas.common import PaginatedResponse
from app.schemas.deals import SORT_FIELDS, DealQuery, DealResponse
from app.services.categories import CategoryService
from app.web.html import html_page, page
from app.web.queries import ParsedQuery, SortLink, parse_and_query, sort_link

PATH = "/dashboard"

# Maximum number of cities that the form suggests.
_MAX_SUGGESTIONS = 300
_SORT_NAMES = {
    "id": "number",
    "price_per_night": "price",
    "discount_percent": "discount",
    "star_rating": "stars",
    "checkin_date": "check-in",
    "created_at": "time of entry",
}
# Columns that a first click sorts in descending order.
_DESCENDING_FIRST = frozenset({"discount_percent", "star_rating", "created_at"})
_PAGE_SIZES = ("10", "20", "50", "100")


@html_page
async def browse(request: Request) -> Response:
    """Return the page of deals. If a filter is invalid, the page has no table."""
    services = service_state(request)
    asked, found = await parse_and_query(
        ParsedQuery.of(DealQuery, request.query_params), services.deals.page
    )
    cities = await services.deals.statistics_by_city(available_only=False)
    categories = await services.reads.run(lambda session: CategoryService(session).all())
    context = {
        "section": "browse",
        "asked": asked,
        "found": found,
        "cities": [each["city"] for each in cities[:_MAX_SUGGESTIONS]],
        "categories": categories,
        "sorts": _sorts(asked),
        "sort_links": {name: _sort_link(asked, name) for name in SORT_FIELDS},
        "sizes": [(size, size) for size in dict.fromkeys((*_PAGE_SIZES, *asked.values("limit")))],
        "pages": _pages(asked, found),
        "path": PATH,
    }
    return page(request, "browse.html", context, status=200 if found else InvalidInputError.status)


def _sorts(asked: ParsedQuery[DealQuery]) -> list[tuple[str, str]]:
    """Return the sort orders that the form offers, with their labels.

    If the URL contains a sort order that is not in this list, the form offers that order as well.
    """
    known = [
        (f"{sign}{name}", f"{_SORT_NAMES[name]}, {'descending' if sign else 'ascending'}")
        for name in SORT_FIELDS
        for sign in ("", "-")
    ]
    own = asked.value("sort")
    return known if not own or own in dict(known) else [*known, (own, own)]


def _sort_link(asked: ParsedQuery[DealQuery], name: str) -> SortLink:
    now = asked.value("sort") or "id"
    return sort_link(asked, PATH, name, now, descending_first=name in _DESCENDING_FIRST)


def _pages(
    asked: ParsedQuery[DealQuery], found: PaginatedResponse[DealResponse] | None
) -> dict[str, str]:
    """Return the URLs of the first, previous, next and last page. Omit unavailable pages."""
    if found is None:
        return {}
    skip, limit, total = found["skip"], found["limit"], found["total"]
    links = {}
    if skip != 0:
        links["first"] = asked.address(PATH)
    if skip:
        links["previous"] = asked.address(PATH, skip=max(skip - limit, 0) or None)
    if found["next_cursor"] is not None:
        place = {"cursor": found["next_cursor"]} if skip is None else {"skip": skip + limit}
        links["next"] = asked.address(PATH, **place)
        if total is not None and skip is not None:
            links["last"] = asked.address(PATH, skip=(total - 1) // limit * limit)
    return links
