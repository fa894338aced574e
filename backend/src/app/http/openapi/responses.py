"""Headers, links and examples of responses, for the OpenAPI document."""

from typing import Any, Literal

from app.schemas.common import openapi_example

Header = dict[str, dict[str, Any]]
Declared = dict[int | str, dict[str, Any]]


# The `openapi_extra=` of a route that anybody may call. tests/test_architecture.py finds each route
# that is neither this nor asks for an actor.
PUBLIC: dict[str, Any] = {"security": []}


def _header(
    name: str, description: str, example: str | int, *, always: bool = True, **schema: Any
) -> Header:
    return {
        name: {
            "description": description,
            "required": always,
            "schema": {"type": "string", **schema},
            "example": example,
        }
    }


EXAMPLE_TAG = '"1.8e553dacda25a50f"'

REQUEST_ID = _header(
    "X-Request-ID",
    "By which the service's log knows the request",
    "0f8fad5bd9cb469fa16570867728950e",
)
ETAG = _header(
    "ETag", "For `If-None-Match` and `If-Match`", EXAMPLE_TAG, pattern=r'^"\d+\.[0-9a-f]{16}"$'
)
LINK = _header(
    "Link",
    "The first page and, unless this is the last one, the next (RFC 8288)",
    '</deals?city=berlin>; rel="first", </deals?city=berlin&skip=20>; rel="next"',
)
REPLAYED = _header(
    "Idempotency-Replayed",
    "This is the response of an earlier request",
    "true",
    always=False,
    const="true",
)
DISPOSITION = _header(
    "Content-Disposition", "A name for the file", 'attachment; filename="deals.csv"'
)
VARY = _header("Vary", "What of the request decides on the format", "Accept, Accept-Encoding")
RETRY_AFTER = _header("Retry-After", "In so many seconds", 1, type="integer")
AUTHENTICATE = _header("WWW-Authenticate", "What kind of key is needed", "Bearer", const="Bearer")


def location(collection: Literal["deals", "hotels", "imports"]) -> Header:
    """Of what was made."""
    pattern = rf"^/{collection}/\d+$"
    return _header("Location", "Where it is", f"/{collection}/1", pattern=pattern)


def success_response(
    status: int,
    *headers: Header,
    description: str,
    links: dict[str, Any] | None = None,
    example: Any = None,
) -> Declared:
    """For `responses=`: what comes with the route's response model, and when.

    `example` is for those whose schema has none of its own.
    """
    declared: dict[str, Any] = {
        "description": description,
        "headers": {
            name: header for each in (REQUEST_ID, *headers) for name, header in each.items()
        },
    }
    if links:
        declared["links"] = links
    if example is not None:
        declared["content"] = {"application/json": {"example": openapi_example(example)}}
    return {status: declared}


_IF_NONE_MATCH = "The `ETag` of the client's copy: 304 if it is current"
# The `openapi_extra=` of a route that answers by `not_modified_or`, which reads the header itself.
CONDITIONAL: dict[str, Any] = {
    "parameters": [
        {
            "name": "if-none-match",
            "in": "header",
            "required": False,
            "schema": {
                "description": _IF_NONE_MATCH,
                "examples": [EXAMPLE_TAG],
                "type": "string",
                "title": "If-None-Match",
            },
            "description": _IF_NONE_MATCH,
        }
    ]
}

NOT_MODIFIED: Declared = success_response(
    304, ETAG, description="The client's copy, `If-None-Match`, is current"
)


def links_to(resource: Literal["deal", "hotel"]) -> dict[str, Any]:
    """What a client can do with the resource in the response's body."""
    found = {f"{resource}_id": "$response.body#/id"}
    unchanged = {**found, "if-match": "$response.header.ETag"}
    links = {
        "get": _link(f"get_{resource}", found, "Read it again"),
        "change": _link(f"change_{resource}", unchanged, "Change it, in this version"),
        "delete": _link(f"delete_{resource}", unchanged, "Delete it, in this version"),
    }
    if resource == "hotel":
        links["deals"] = _link("list_deals", found, "The hotel's deals")
    return links


def links_to_import() -> dict[str, Any]:
    """What a client can do with the import in the response's body."""
    found = {"import_id": "$response.body#/id"}
    return {
        "get": _link("get_import", found, "How it goes by now"),
        "events": _link("watch_import", found, "How it goes, as it goes"),
        "rejects": _link("get_import_rejects", found, "The rows that were rejected"),
        "cancel": _link("cancel_import", found, "End it"),
    }


def _link(operation: str, parameters: dict[str, str], description: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": parameters, "description": description}
