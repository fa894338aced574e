"""The routes of all pages. They support GET only and are not in the OpenAPI document."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.core.errors import NotFoundError
from app.http.plain_route import plain_route
from app.web import assets, browse, cities, imports, reference
from app.web.html import html_page


@html_page
async def _nothing(_: Request) -> Response:
    raise NotFoundError("The page does not exist")


routes: list[Route] = [
    assets.route,
    plain_route("/", browse.browse),
    plain_route(browse.PATH, browse.browse),
    plain_route(cities.PATH, cities.cities),
    plain_route(imports.PATH, imports.imports),
    plain_route(f"{imports.PATH}/{{import_id}}", imports.one_import),
    plain_route(f"{browse.PATH}/{{rest:path}}", _nothing),
    plain_route("/docs", reference.swagger),
    plain_route("/redoc", reference.redoc),
]
