from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from app.schemas.common import ErrorDetailBody

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


class BulkQuery(BaseModel):
    """How `POST /deals/bulk` treats bad items."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    atomic: Annotated[bool, Field(description="All or nothing: one bad item refuses all")] = False


class _BulkErrorRequired(TypedDict):
    code: str
    message: str


class BulkError(_BulkErrorRequired, total=False):
    """Why an item was not stored."""

    details: list[ErrorDetailBody]


class BulkResult(TypedDict):
    """What became of an item; `error` is null unless `status` is "error"."""

    index: int
    status: Literal["created", "updated", "unchanged", "error"]
    id: int | None
    error: BulkError | None


class BulkResults(TypedDict):
    """One result per item, in the order of the items."""

    results: list[BulkResult]
