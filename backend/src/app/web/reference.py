"""The API reference in two pages: `/docs` for trying requests and `/redoc` for reading."""

from starlette.requests import Request
from starlette.responses import Response

from app.web.html import POLICY, page

# ReDoc adds two <style> elements. The policy allows these elements by their hashes and forbids all
# other inline styles. The first element is empty. A script fills it with rules, to which the policy
# does not apply. The second element contains rules of perfect-scrollbar. If a new version of ReDoc
# changes these rules, tests/browser fails.
_REDOC_POLICY = {
    **POLICY,
    "style-src": " ".join(
        (
            POLICY["style-src"],
            "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
            "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
        )
    ),
}


async def swagger(request: Request) -> Response:
    """Return the page with Swagger UI, for trying requests."""
    context = {
        "title": "Swagger UI",
        "path": "/docs",
        "styles": ["swagger-ui-dist/swagger-ui.css", "reference.css"],
        "scripts": ["swagger-ui-dist/swagger-ui-bundle.js", "swagger.js"],
    }
    return page(request, "reference.html", context)


async def redoc(request: Request) -> Response:
    """Return the page with ReDoc, for reading the reference."""
    context = {
        "title": "ReDoc",
        "path": "/redoc",
        "styles": ["reference.css"],
        "scripts": ["redoc/redoc.standalone.js", "redoc.js"],
    }
    return page(request, "reference.html", context, policy=_REDOC_POLICY)
