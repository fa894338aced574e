from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from app.schemas.common import ErrorDetailBody, openapi_examples
from app.schemas.deals import NEW_DEAL_EXAMPLE

MAX_ITEMS = 1000

# Each item is validated by itself, so that a bad one stops no other; the document shows what it is
# validated as.
BulkBody = Annotated[
    list[Any],
    Field(max_length=MAX_ITEMS),
    WithJsonSchema(
        {
            "type": "array",
            "maxItems": MAX_ITEMS,
            "items": {"$ref": "#/components/schemas/DealCreate"},
        }
    ),
]


BULK_BODY_EXAMPLES: dict[str, Any] = {
    "two": {
        "summary": "Two deals, each new or in place of the one with its `external_id`",
        "value": [
            NEW_DEAL_EXAMPLE,
            {**NEW_DEAL_EXAMPLE, "external_id": 70002, "room_type": "double"},
        ],
    }
}
BULK_RESULTS_EXAMPLE: dict[str, Any] = {
    "results": [
        {"index": 0, "status": "created", "id": 1, "error": None},
        {
            "index": 1,
            "status": "error",
            "id": None,
            "error": {
                "code": "VALIDATION_ERROR",
                "message": "The request is not valid",
                "details": [
                    {"field": "price_per_night", "message": "Input should be greater than 0"}
                ],
            },
        },
    ]
}


class BulkQuery(BaseModel):
    """How `POST /deals/bulk` treats bad items."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    atomic: Annotated[
        bool, Field(description="All or nothing: one bad item refuses all", examples=[True])
    ] = False


class _BulkErrorRequired(TypedDict):
    code: Annotated[str, Field(description="Stable, for programs", examples=["CONFLICT"])]
    message: Annotated[
        str,
        Field(description="For people", examples=["An earlier item has this external_id"]),
    ]


class BulkError(_BulkErrorRequired, total=False):
    """Why an item was not stored."""

    details: Annotated[
        list[ErrorDetailBody],
        Field(description="Only where single fields are wrong; `field` is that of the item"),
    ]


class BulkResult(TypedDict):
    """What became of an item; `error` is null unless `status` is "error"."""

    index: Annotated[int, Field(ge=0, description="Of the item, from 0")]
    status: Literal["created", "updated", "unchanged", "error"]
    id: Annotated[int | None, Field(description="Of the deal; null if there is none")]
    error: BulkError | None


@with_config(openapi_examples(BULK_RESULTS_EXAMPLE))
class BulkResults(TypedDict):
    """One result per item, in the order of the items."""

    results: list[BulkResult]
