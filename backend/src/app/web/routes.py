"""Every address of `web/`: all of them are read, none is in the OpenAPI document."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.errors import NotFoundError
from app.web import assets, browse, cities, imports, reference
from app.web.html import shown


@shown
async def _nothing(_: Request) -> Response:
    raise NotFoundError("There is no such page")


routes: list[Route] = [
    assets.route,
    Route("/", browse.browse),
    Route(browse.PATH, browse.browse),
    Route(cities.PATH, cities.cities),
    Route(imports.PATH, imports.imports),
    Route(f"{imports.PATH}/{{import_id:int}}", imports.one_import),
    Route(f"{browse.PATH}/{{rest:path}}", _nothing),
    Route("/docs", reference.swagger),
    Route("/redoc", reference.redoc),
]
