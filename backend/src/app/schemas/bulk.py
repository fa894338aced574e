from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from app.schemas.common import ErrorDetailBody, openapi_examples
from app.schemas.deals import NEW_DEAL_EXAMPLE

MAX_ITEMS = 1000

# FastAPI checks only the number of items. The service validates each item itself, so that an
# invalid item does not fail the request. The OpenAPI document contains the schema of an item.
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
        "summary": "Two deals to create, or to replace if their `external_id` is stored already",
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
    """Query parameters of `POST /deals/bulk`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    atomic: Annotated[
        bool,
        Field(description="Store all items, or none if an item has an error", examples=[True]),
    ] = False


class _BulkErrorRequired(TypedDict):
    code: Annotated[str, Field(description="Stable error code for programs", examples=["CONFLICT"])]
    message: Annotated[
        str,
        Field(
            description="Explanation for people",
            examples=["An earlier item has this external_id"],
        ),
    ]


class BulkError(_BulkErrorRequired, total=False):
    """The reason why an item was not stored."""

    details: Annotated[
        list[ErrorDetailBody],
        Field(description="Invalid fields of the item, left out if the error has another cause"),
    ]


class BulkResult(TypedDict):
    """The result of one item. `error` is null unless `status` is "error"."""

    index: Annotated[int, Field(ge=0, description="Position of the item in the request (0, 1, …)")]
    status: Literal["created", "updated", "unchanged", "error"]
    id: Annotated[
        int | None, Field(description="`id` of the deal, or null if the item was not stored")
    ]
    error: BulkError | None


@with_config(openapi_examples(BULK_RESULTS_EXAMPLE))
class BulkResults(TypedDict):
    """The results of all items, in the order of the request."""

    results: list[BulkResult]
