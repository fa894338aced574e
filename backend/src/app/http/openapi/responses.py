"""Headers, links and examples of responses for the OpenAPI document."""

from typing import Any, Literal

from app.schemas.common import openapi_example

Header = dict[str, dict[str, Any]]
Declared = dict[int | str, dict[str, Any]]


# The `openapi_extra` of a public route. tests/test_architecture.py requires all other routes to
# authenticate their requests.
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
    "Id of the request in the service's log",
    "0f8fad5bd9cb469fa16570867728950e",
)
ETAG = _header(
    "ETag",
    "Entity tag for `If-None-Match` and `If-Match`",
    EXAMPLE_TAG,
    pattern=r'^"\d+\.[0-9a-f]{16}"$',
)
LINK = _header(
    "Link",
    "Links to the first page and, except on the last page, to the next page (RFC 8288)",
    '</deals?city=berlin>; rel="first", </deals?city=berlin&skip=20>; rel="next"',
)
REPLAYED = _header(
    "Idempotency-Replayed",
    "`true` if this is the stored response of an earlier request",
    "true",
    always=False,
    const="true",
)
DISPOSITION = _header(
    "Content-Disposition", "Suggested file name", 'attachment; filename="deals.csv"'
)
VARY = _header("Vary", "Request headers that select the format", "Accept, Accept-Encoding")
RETRY_AFTER = _header("Retry-After", "Seconds to wait before retrying", 1, type="integer")
AUTHENTICATE = _header(
    "WWW-Authenticate", "Required authentication scheme", "Bearer", const="Bearer"
)


def location(collection: Literal["deals", "hotels", "imports"]) -> Header:
    """Return the `Location` header for a response that reports a new resource."""
    pattern = rf"^/{collection}/\d+$"
    return _header("Location", "Path of the new resource", f"/{collection}/1", pattern=pattern)


def success_response(
    status: int,
    *headers: Header,
    description: str,
    links: dict[str, Any] | None = None,
    example: Any = None,
) -> Declared:
    """Return a route's `responses` argument for a successful response.

    `example` is needed only if the schema of the response has no example.
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


_IF_NONE_MATCH = "The `ETag` of the client's copy. If the copy is current, the response is 304."
# The `openapi_extra` of routes that call `not_modified_or`. This function reads `If-None-Match`
# from the request, so FastAPI does not document the header.
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
    304, ETAG, description="The client's copy is current: `If-None-Match` contains its `ETag`"
)


def links_to(resource: Literal["deal", "hotel"]) -> dict[str, Any]:
    """Return links to the operations on the deal or hotel in the response's body."""
    found = {f"{resource}_id": "$response.body#/id"}
    unchanged = {**found, "if-match": "$response.header.ETag"}
    links = {
        "get": _link(f"get_{resource}", found, f"Read this {resource} again"),
        "change": _link(f"change_{resource}", unchanged, f"Change this version of the {resource}"),
        "delete": _link(f"delete_{resource}", unchanged, f"Delete this version of the {resource}"),
    }
    if resource == "hotel":
        links["deals"] = _link("list_deals", found, "List the deals of this hotel")
    return links


def links_to_import() -> dict[str, Any]:
    """Return links to the operations on the import in the response's body."""
    found = {"import_id": "$response.body#/id"}
    return {
        "get": _link("get_import", found, "Read the state of this import"),
        "events": _link("watch_import", found, "Follow the progress of this import"),
        "rejects": _link("get_import_rejects", found, "Download the rejected rows"),
        "cancel": _link("cancel_import", found, "Cancel this import"),
    }


def _link(operation: str, parameters: dict[str, str], description: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": parameters, "description": description}
