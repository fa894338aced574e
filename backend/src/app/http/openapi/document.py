"""The OpenAPI document: what it says of the whole service, and FastAPI's rendering corrected.

What it says of an operation stands beside the operation, what it says of a field beside the field.
"""

from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from app.schemas.common import NULL

DESCRIPTION = """\
Deals are offers of hotels: a room of one type, for given nights, at a discount off its original \
price. Each deal belongs to a hotel and carries up to twenty categories. Averages, totals and \
numbers of deals are exact at every moment, whoever writes. Deals are written one by one, up to a \
thousand at a time, or by uploading a CSV file of any size, which is loaded in the background.

## Values

JSON in UTF-8. Money is a decimal string with two places; on input a string or a number. Dates are \
ISO 8601, timestamps UTC. A JSON body has at most 1 MiB. Query parameters and fields of a body \
that do not exist are refused: a typo does not silently widen a search.

## Pages

Lists come in pages, by `skip` and `limit` or by `cursor`. A page's `next_cursor` is the `cursor` \
of the next one, with the same filters and the same sort, and null on the last page. From cursor \
to cursor no row is met twice or missed because others come and go, and a page far behind costs \
what the first one does. `Link` (RFC 8288) has the first and the next page. `count` says how \
`total` is found.

## Authentication

Reads of deals, hotels and categories are public. Writes need an API key with the scope \
`deals:write`, and everything about imports one with `imports:write`, as `Authorization: Bearer …` \
or as `X-API-Key: …`. Without a valid key the answer is 401, with too little scope 403. A service \
that runs for development takes requests without a key too.

## Retries that do nothing twice

A POST with an `Idempotency-Key` can be sent again with the same body for 24 hours: the first \
response comes again, with `Idempotency-Replayed: true`. A file that is uploaded again is the same \
import.

## Two writers

Deals and hotels have an `ETag`. `If-None-Match` on a GET saves the body: 304. `If-Match` on a \
PATCH or DELETE makes it happen only in that version: otherwise 412. Without it, of two writers at \
the same moment one gets a 409 and can try again.

## Errors

One envelope for all of them, whatever the format of the response would have been. `code` is for \
programs and stable, `message` and `details` are for people. Every response has an `X-Request-ID`, \
by which the service's log knows the request; one that a client sends is kept.
"""

TAGS = [
    {
        "name": "deals",
        "description": "Offers of a room type for given nights: search, statistics, export, "
        "and writing them singly or in bulk.",
    },
    {
        "name": "hotels",
        "description": "Where deals are. The average of its deals' stars, and how many there are, "
        "come with each hotel.",
    },
    {"name": "categories", "description": "What deals are tagged with: luxury, beach, family …"},
    {
        "name": "imports",
        "description": "Files of deals that are loaded in the background: upload one, watch it, "
        "get the rows that were rejected. All of it needs the scope `imports:write`.",
    },
    {"name": "health", "description": "Whether the service can answer."},
]


class DocumentedAPI(FastAPI):
    """The application with its document, which is made once, when it is first asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            title="Hotel deals",
            summary="Hotel deals: search, statistics, writing, import and export.",
            description=DESCRIPTION,
            version=version("hotel-deals"),
            contact={"name": "The hotel-deals authors"},
            license_info={"name": "MIT", "identifier": "MIT"},
            servers=[{"url": "/", "description": "The service that this document is from"}],
            openapi_tags=TAGS,
            # FastAPI's own pages load what they are made of from other hosts; ours are in `web/`.
            docs_url=None,
            redoc_url=None,
            **options,
        )

    def openapi(self) -> dict[str, Any]:
        """The document, corrected.

        Whole numbers are such: FastAPI's 9.223372036854776e+18 is not 2**63. Examples have their
        nulls. Errors are JSON, also those of a route whose own response is something else. Streams
        are described in words that OpenAPI 3.1 has.
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
    """FastAPI puts the schema of an error under the media type of the route's own response."""
    content: dict[str, Any] = {}
    for each in error["content"].values():
        content |= each
    error["content"] = {"application/json": content}


def _describe_streams(response: dict[str, Any]) -> None:
    """`itemSchema` is OpenAPI 3.2's; in 3.1 a stream is a text, and what it is made of is prose."""
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
