"""Types that several resources share.

Requests are pydantic models, because they need validation. Responses are TypedDicts, because
pydantic-core serializes database rows as TypedDicts without building model objects.
"""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
    with_config,
)
from pydantic_core import CoreSchema
from typing_extensions import TypedDict

from app.core.limits import MAX_BIGINT, MAX_HOTEL_TEXT_LENGTH

T = TypeVar("T")

# A placeholder for null in an example. FastAPI removes null from the document, so
# `app.http.openapi.document` inserts it again.
NULL = "\0null"


def openapi_example(example: Any) -> Any:
    """Return an example with placeholders for null, which FastAPI would remove."""
    if isinstance(example, dict):
        return {name: openapi_example(value) for name, value in example.items()}
    if isinstance(example, list):
        return [openapi_example(value) for value in example]
    return NULL if example is None else example


def openapi_examples(*examples: Any) -> ConfigDict:
    """Return a pydantic configuration that adds the examples to a type's OpenAPI schema."""
    return ConfigDict(json_schema_extra={"examples": openapi_example(list(examples))})


# An exclusive bound, because FastAPI writes bounds as floats: a float cannot represent 2**63 - 1.
BIGINT_END = MAX_BIGINT + 1
# The pattern tells client generators that the service refuses texts with NUL and blank texts.
TEXT_RULES = Field(json_schema_extra={"pattern": r"^[^\u0000]*[^\s\u0000\u001c-\u001f][^\u0000]*$"})

Money = Annotated[
    str,
    Field(
        description="Decimal number with two places", pattern=r"^\d+\.\d\d$", examples=["176.18"]
    ),
]
Timestamp = Annotated[
    datetime, Field(description="Timestamp in UTC", examples=["2026-06-13T10:09:21Z"])
]
AverageStars = Annotated[
    float | None,
    Field(description="Average stars of the hotel's deals, rounded to two places", examples=[4.25]),
]
CURSOR = "Nv1L7IRZ_Z-vrVxnoNjei1tbIm4iLCI4NTIuMDYiXSxbImkiLDM0MjU1XV0"
NextCursor = Annotated[
    str | None,
    Field(description="`cursor` of the next page, or null on the last page", examples=[CURSOR]),
]
Skipped = Annotated[
    int | None,
    Field(
        description="Number of items before this page, or null if the request had a `cursor`",
        examples=[0],
    ),
]
PageLimit = Annotated[int, Field(description="`limit` of the request", examples=[20])]
Id = Annotated[int, Field(ge=1, lt=BIGINT_END)]


def normalize_text(value: Any) -> Any:
    """Normalize a text to NFC without surrounding white space. Return other types unchanged.

    Texts with NUL are refused, because PostgreSQL cannot store them. White space includes U+001C to
    U+001F, as in CSV loads. The length is checked afterwards, because NFC changes it.
    """
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    return unicodedata.normalize("NFC", value).strip()


NORMALIZED = BeforeValidator(normalize_text)


def length_up_to(maximum: int) -> StringConstraints:
    """Return a constraint for texts of 1 to `maximum` characters."""
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=maximum)


SearchText = Annotated[str, length_up_to(MAX_HOTEL_TEXT_LENGTH), NORMALIZED, TEXT_RULES]


class _WithoutNull:
    """A marker that removes null from a parameter's schema. URLs and headers cannot contain it."""

    @staticmethod
    def __get_pydantic_json_schema__(
        schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        documented = handler(schema)
        alternatives = documented.pop("anyOf")
        return {**documented, **next(each for each in alternatives if each != {"type": "null"})}


# A parameter that is None if the client does not send it.
OptionalParam = Annotated[T | None, _WithoutNull()]


def _drop_title(schema: dict[str, Any]) -> None:
    # The title is the same for all resources. Without it, client generators use the schema's name.
    schema.pop("title", None)


@with_config(ConfigDict(json_schema_extra=_drop_title))
class PaginatedResponse(TypedDict, Generic[T]):
    """A page of a collection."""

    items: list[T]
    total: Annotated[
        int | None, Field(description="Number of all matches, or null with `count=none`")
    ]
    skip: Skipped
    limit: PageLimit
    next_cursor: NextCursor


def page_example(item: Any) -> dict[str, Any]:
    """Return an example of a page with one item."""
    return {"items": [item], "total": 1, "skip": 0, "limit": 20, "next_cursor": None}


class PageQuery(BaseModel):
    """Query parameters of a paginated list.

    With `skip` a client can request any page, but it gets a row twice or misses one if other rows
    are added or removed. With `cursor` a client reads pages in order and gets each row once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    skip: Annotated[
        int,
        Field(
            ge=0,
            lt=BIGINT_END,
            description="Number of items to skip, by default 0. Not allowed with `cursor`.",
            examples=[40],
        ),
        # A factory keeps the default out of the document. If it were there, generated clients would
        # send `skip=0` with every cursor and get an error.
    ] = Field(default_factory=int)
    limit: Annotated[
        int, Field(ge=1, le=100, description="Maximum number of items", examples=[10])
    ] = 20
    cursor: Annotated[
        OptionalParam[str],
        Field(
            max_length=1000,
            description="`next_cursor` of the previous page. The sort and the filters must be the "
            "same. Not allowed with `skip`.",
            examples=[CURSOR],
        ),
    ] = None
    count: Annotated[
        OptionalParam[Literal["exact", "estimated", "none"]],
        Field(
            description="Counting method for `total`. `exact` counts all matches. `estimated` uses "
            "a sample if an exact count would be slow. With `none`, `total` is null. The default "
            "is `exact` without a cursor and `none` with a cursor.",
            examples=["none"],
        ),
    ] = None

    @model_validator(mode="after")
    def _one_kind_of_page(self) -> Self:
        if self.cursor is not None and "skip" in self.model_fields_set:
            raise ValueError("cursor and skip exclude each other")
        return self

    @property
    def counting(self) -> str:
        """Return the requested counting method, or the default if none is requested."""
        return self.count or ("exact" if self.cursor is None else "none")


class ErrorDetailBody(TypedDict):
    """An invalid field and the rule that it breaks."""

    field: Annotated[
        str,
        Field(
            description="Path of the field, such as `query.limit` or `body.price_per_night`",
            examples=["query.limit"],
        ),
    ]
    message: Annotated[
        str,
        Field(
            description="Rule that the field breaks",
            examples=["Input should be less than or equal to 100"],
        ),
    ]


class _ErrorRequired(TypedDict):
    code: Annotated[
        str, Field(description="Stable error code for programs", examples=["VALIDATION_ERROR"])
    ]
    message: Annotated[
        str, Field(description="Explanation for people", examples=["The request is not valid"])
    ]
    request_id: Annotated[
        str,
        Field(
            description="`X-Request-ID` of the response",
            examples=["0f8fad5bd9cb469fa16570867728950e"],
        ),
    ]


class ErrorBody(_ErrorRequired, total=False):
    """The code, the message and the details of an error."""

    details: Annotated[
        list[ErrorDetailBody],
        Field(description="Invalid fields, left out if the error has another cause"),
    ]


class ErrorEnvelope(TypedDict):
    """The JSON body of all error responses."""

    error: ErrorBody
