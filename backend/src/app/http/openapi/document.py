"""The OpenAPI document: its introduction, and corrections to FastAPI's output.

Routers describe the operations, and schemas describe the fields.
"""

from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from app.schemas.common import NULL

DESCRIPTION = """\
A deal is an offer of a hotel: one type of room, for given nights, at a discount from its original \
price. Each deal belongs to a hotel and has up to 20 categories. Average prices, average stars and \
deal counts are always exact. Clients can write single deals, write up to 1,000 deals in one \
request, or upload a CSV file. A background worker loads the uploaded files.

## Values

Requests and responses are JSON in UTF-8. Prices are decimal strings with two places. In requests \
a price can be a decimal string or a number. Dates are ISO 8601, and timestamps are in UTC. By \
default a JSON body may have at most 1 MiB. The service rejects unknown query parameters and \
unknown fields, so that a typo does not widen a search.

## Pagination

Lists are paginated by `skip` and `limit`, or by `cursor` and `limit`. To get the next page, send \
the `next_cursor` of a page as `cursor`, with the same filters and the same sort. `next_cursor` is \
null on the last page. Pagination by `cursor` never repeats or misses a row if other rows are \
added or removed, and every page is as fast as the first. The `Link` header (RFC 8288) contains \
the URLs of the first and the next page. The parameter `count` selects how `total` is counted.

## Authentication

Reading deals, hotels and categories is public. Writing deals and hotels requires an API key with \
the scope `deals:write`. All operations on imports require a key with the scope `imports:write`. \
Send the key as `Authorization: Bearer …` or as `X-API-Key: …`. A request without a valid key gets \
a 401. A request whose key lacks the scope gets a 403. In development the service accepts requests \
without a key.

## Idempotency

If a client repeats a POST with the same `Idempotency-Key` and the same body within 24 hours, it \
gets the first response again, with `Idempotency-Replayed: true`. If a client uploads the same \
file again, it gets the existing import.

## Concurrency control

Responses with a deal or a hotel have an `ETag`. A GET with `If-None-Match` gets a 304 without a \
body if the client's copy is current. A PATCH or DELETE with `If-Match` gets a 412 if the resource \
no longer has that version. If two clients change a resource at the same time without `If-Match`, \
one of them gets a 409 and can retry.

## Errors

All errors have the same JSON envelope, even if the route returns another format. `code` is stable \
and for programs. `message` and `details` are for people. Every response has an `X-Request-ID` \
header. The service's log contains the same id. A client can choose the id by sending the header.
"""

TAGS = [
    {
        "name": "deals",
        "description": "Offers of a room type for given nights. Search, statistics, export, "
        "single writes and bulk writes.",
    },
    {
        "name": "hotels",
        "description": "Hotels with the average stars and the count of their deals.",
    },
    {"name": "categories", "description": "Tags of deals, such as luxury, beach or family."},
    {
        "name": "imports",
        "description": "CSV files of deals that a background worker loads. Upload a file, follow "
        "its progress, download the rejected rows. All operations require the scope "
        "`imports:write`.",
    },
    {"name": "health", "description": "Health, liveness and readiness checks."},
]


class DocumentedAPI(FastAPI):
    """A FastAPI application that corrects its OpenAPI document."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            title="Hotel deals",
            summary="Hotel deals: search, statistics, writing, import and export.",
            description=DESCRIPTION,
            version=version("hotel-deals"),
            contact={"name": "The hotel-deals authors"},
            license_info={"name": "MIT", "identifier": "MIT"},
            servers=[{"url": "/", "description": "The service that returned this document"}],
            openapi_tags=TAGS,
            # FastAPI's own pages load files from other hosts. The pages in `web/` replace them.
            docs_url=None,
            redoc_url=None,
            **options,
        )

    def openapi(self) -> dict[str, Any]:
        """Build and correct the OpenAPI document on first use, and return it.

        Floats without a fraction become integers, because FastAPI writes 2**63 as
        9.223372036854776e+18. Placeholders in examples become null. Error responses become JSON,
        even if the route returns another format.
        """
        if self.openapi_schema is None:
            document = _corrected(super().openapi())
            for path in document["paths"].values():
                for operation in path.values():
                    for status, response in operation["responses"].items():
                        if int(status) >= HTTPStatus.BAD_REQUEST:
                            _make_json(response)
                        _describe_streams(response)
            self.openapi_schema = document
        return self.openapi_schema


def _make_json(error: dict[str, Any]) -> None:
    """Document an error's body as JSON instead of the route's media type."""
    content: dict[str, Any] = {}
    for each in error["content"].values():
        content |= each
    error["content"] = {"application/json": content}


def _describe_streams(response: dict[str, Any]) -> None:
    """Replace `itemSchema`, which only OpenAPI 3.2 defines, with a string schema."""
    for content in response.get("content", {}).values():
        if content.pop("itemSchema", None) is not None:
            content.setdefault("schema", {"type": "string"})


def _corrected(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _corrected(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_corrected(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None if value == NULL else value
