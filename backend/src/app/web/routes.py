"""Every address of `web/`: all of them are read, none is in the OpenAPI document."""

from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import NotFoundError
from app.http.plain_route import PlainRoute
from app.web import assets, browse, cities, imports, reference
from app.web.html import html_page


@html_page
async def _nothing(_: Request) -> Response:
    raise NotFoundError("There is no such page")


routes: list[PlainRoute] = [
    assets.route,
    PlainRoute("/", browse.browse),
    PlainRoute(browse.PATH, browse.browse),
    PlainRoute(cities.PATH, cities.cities),
    PlainRoute(imports.PATH, imports.imports),
    PlainRoute(f"{imports.PATH}/{{import_id}}", imports.one_import),
    PlainRoute(f"{browse.PATH}/{{rest:path}}", _nothing),
    PlainRoute("/docs", reference.swagger),
    PlainRoute("/redoc", reference.redoc),
]
