"""Every address of `web/`: all of them are read, none is in the OpenAPI document."""

from starlette.routing import Route

from app.web import assets

routes: list[Route] = [assets.route]
