"""The API's reference as two pages, `/docs` to try it and `/redoc` to read it."""

from starlette.requests import Request
from starlette.responses import Response

from app.web.html import POLICY, page

# ReDoc makes its styles in two <style> elements. One stays empty, its rules are added by script,
# which is no inline style; the other has these few rules of perfect-scrollbar. By their hashes, so
# that no other inline style is allowed: a ReDoc with another text fails tests/browser.
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
    """Swagger UI, which tries requests out."""
    context = {
        "title": "Swagger UI",
        "path": "/docs",
        "styles": ["swagger-ui-dist/swagger-ui.css", "reference.css"],
        "scripts": ["swagger-ui-dist/swagger-ui-bundle.js", "swagger.js"],
    }
    return page(request, "reference.html", context)


async def redoc(request: Request) -> Response:
    """ReDoc, everything on one page to read."""
    context = {
        "title": "ReDoc",
        "path": "/redoc",
        "styles": ["reference.css"],
        "scripts": ["redoc/redoc.standalone.js", "redoc.js"],
    }
    return page(request, "reference.html", context, policy=_REDOC_POLICY)
