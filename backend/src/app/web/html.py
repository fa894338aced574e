"""HTML responses from Jinja templates, with escaping, compression and a Content-Security-Policy."""

import gzip
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import AppError
from app.http.content_negotiation import takes_gzip
from app.web.assets import asset

# The policy forbids inline scripts and styles, other hosts and framing. It allows `data:` images,
# because the vendored stylesheets contain some.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}

_environment = Environment(
    loader=PackageLoader("app.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["asset"] = asset


def page(
    request: Request,
    template: str,
    context: dict[str, Any],
    *,
    status: int = 200,
    policy: dict[str, str] = POLICY,
) -> Response:
    """Render `template` with `context` to a response with `policy` as Content-Security-Policy."""
    content = _environment.get_template(template).render(context).encode()
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
    }
    if takes_gzip(",".join(request.headers.getlist("accept-encoding"))):
        content = gzip.compress(content, compresslevel=5, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, status, headers)


Handler = Callable[[Request], Awaitable[Response]]


def html_page(handler: Handler) -> Handler:
    """Wrap a handler so that it returns an error page for an `AppError`."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except AppError as error:
            response = page(
                request,
                "error.html",
                {"section": None, "error": error, "request_id": request.state.request_id},
                status=error.status,
            )
            if (seconds := getattr(error, "retry_after", None)) is not None:
                response.headers["Retry-After"] = str(seconds)
            return response

    return answer
