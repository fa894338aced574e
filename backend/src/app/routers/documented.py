"""What the OpenAPI document says of responses beside their bodies: headers, and where to go on."""

from typing import Any, Literal

Header = dict[str, dict[str, Any]]
Declared = dict[int | str, dict[str, Any]]


# The `openapi_extra=` of a route that anybody may call. tests/test_architecture.py finds each route
# that is neither this nor asks for an actor.
PUBLIC: dict[str, Any] = {"security": []}


def _header(name: str, description: str, *, always: bool = True, **schema: Any) -> Header:
    return {
        name: {
            "description": description,
            "required": always,
            "schema": {"type": "string", **schema},
        }
    }


REQUEST_ID = _header("X-Request-ID", "By which the service's log knows the request")
ETAG = _header("ETag", "For `If-None-Match` and `If-Match`", pattern=r'^"\d+\.[0-9a-f]{16}"$')
LINK = _header("Link", "The first page and, unless this is the last one, the next (RFC 8288)")
LOCATION = _header("Location", "Where it is", pattern=r"^/(deals|hotels|imports)/\d+$")
REPLAYED = _header(
    "Idempotency-Replayed", "This is the response of an earlier request", always=False, const="true"
)
DISPOSITION = _header("Content-Disposition", "A name for the file")
VARY = _header("Vary", "What of the request decides on the format")
RETRY_AFTER = _header("Retry-After", "In so many seconds", type="integer")
AUTHENTICATE = _header("WWW-Authenticate", "What kind of key is needed", const="Bearer")


def answer(status: int, *headers: Header, links: dict[str, Any] | None = None) -> Declared:
    """For `responses=`: what comes with the route's response model."""
    declared = {name: header for each in (REQUEST_ID, *headers) for name, header in each.items()}
    return {status: {"headers": declared, **({"links": links} if links else {})}}


def links_to(resource: Literal["deal", "hotel"]) -> dict[str, Any]:
    """What a client can do with the resource in the response's body."""
    found = {f"{resource}_id": "$response.body#/id"}
    unchanged = {**found, "if-match": "$response.header.ETag"}
    links = {
        "get": {"operationId": f"get_{resource}", "parameters": found},
        "change": {"operationId": f"change_{resource}", "parameters": unchanged},
        "delete": {"operationId": f"delete_{resource}", "parameters": unchanged},
    }
    if resource == "hotel":
        links["deals"] = {"operationId": "list_deals", "parameters": found}
    return links
