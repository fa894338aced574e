"""Types that several resources share.

What clients get is declared as TypedDicts: a row goes from the database into pydantic-core's
serializer without a model object being built and validated on the way, and OpenAPI documents it
all the same. What clients send is declared as models, which validate.
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

# Stands for null in an example: FastAPI leaves null out of the document, and
# `app.http.openapi.document` puts it back.
NULL = "\0null"


def openapi_example(example: Any) -> Any:
    """An example as FastAPI is given it, with nulls that it keeps."""
    if isinstance(example, dict):
        return {name: openapi_example(value) for name, value in example.items()}
    if isinstance(example, list):
        return [openapi_example(value) for value in example]
    return NULL if example is None else example


def openapi_examples(*examples: Any) -> ConfigDict:
    """The configuration of a type that the document shows with these examples."""
    return ConfigDict(json_schema_extra={"examples": openapi_example(list(examples))})


# An exclusive bound, because the document is made with floats, and 2**63 - 1 is none.
BIGINT_END = MAX_BIGINT + 1
# What the service refuses in a text beside its length, for generated clients: NUL, and only spaces.
TEXT_RULES = Field(json_schema_extra={"pattern": r"^[^\u0000]*[^\s\u0000\u001c-\u001f][^\u0000]*$"})

Money = Annotated[
    str,
    Field(description="A decimal with two places", pattern=r"^\d+\.\d\d$", examples=["176.18"]),
]
Timestamp = Annotated[datetime, Field(description="UTC", examples=["2026-06-13T10:09:21Z"])]
AverageStars = Annotated[
    float | None,
    Field(description="Average stars of the hotel's deals, rounded to two places", examples=[4.25]),
]
CURSOR = "Nv1L7IRZ_Z-vrVxnoNjei1tbIm4iLCI4NTIuMDYiXSxbImkiLDM0MjU1XV0"
NextCursor = Annotated[
    str | None,
    Field(description="The `cursor` of the next page; null on the last one", examples=[CURSOR]),
]
Skipped = Annotated[
    int | None,
    Field(description="How many were passed over; null on a cursor page", examples=[0]),
]
PageLimit = Annotated[int, Field(description="The `limit` that was asked for", examples=[20])]
Id = Annotated[int, Field(ge=1, lt=BIGINT_END)]


def normalize_text(value: Any) -> Any:
    """PostgreSQL's text has no NUL; composed and decomposed letters are one to a reader.

    Space around it is what Python and so a load takes for it, U+001C to U+001F too. Comes before
    lengths are checked, because composing changes them.
    """
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    return unicodedata.normalize("NFC", value).strip()


NORMALIZED = BeforeValidator(normalize_text)


def length_up_to(maximum: int) -> StringConstraints:
    """Return the constraint of a text of 1 to `maximum` characters."""
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=maximum)


SearchText = Annotated[str, length_up_to(MAX_HOTEL_TEXT_LENGTH), NORMALIZED, TEXT_RULES]


class _WithoutNull:
    """Leaves null out of the document: neither a URL nor a header can carry one."""

    @staticmethod
    def __get_pydantic_json_schema__(
        schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        documented = handler(schema)
        alternatives = documented.pop("anyOf")
        return {**documented, **next(each for each in alternatives if each != {"type": "null"})}


# A parameter that is None unless it is sent.
OptionalParam = Annotated[T | None, _WithoutNull()]


def _drop_title(schema: dict[str, Any]) -> None:
    # The same for each kind of item. Generators of clients fall back on the schema's name.
    schema.pop("title", None)


@with_config(ConfigDict(json_schema_extra=_drop_title))
class PaginatedResponse(TypedDict, Generic[T]):
    """A page of a collection."""

    items: list[T]
    total: Annotated[int | None, Field(description="All that match; null with `count=none`")]
    skip: Skipped
    limit: PageLimit
    next_cursor: NextCursor


def page_example(item: Any) -> dict[str, Any]:
    """Return a page with one item, as an example of a response."""
    return {"items": [item], "total": 1, "skip": 0, "limit": 20, "next_cursor": None}


class PageQuery(BaseModel):
    """Which page of a list, and whether to count the whole.

    Two kinds of page: by offset (`skip`), which can go anywhere and shows rows twice or not at all
    when others come and go; and by cursor, from page to page, which does not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    skip: Annotated[
        int,
        Field(
            ge=0,
            lt=BIGINT_END,
            description="How many to pass over; not with `cursor`, otherwise 0 unless sent",
            examples=[40],
        ),
        # By a factory, so that no default is documented: generated clients send those, and
        # `skip=0` is not for a cursor.
    ] = Field(default_factory=int)
    limit: Annotated[
        int, Field(ge=1, le=100, description="How many to return at most", examples=[10])
    ] = 20
    cursor: Annotated[
        OptionalParam[str],
        Field(
            max_length=1000,
            description="`next_cursor` of a page with the same sort and filters; not with `skip`",
            examples=[CURSOR],
        ),
    ] = None
    count: Annotated[
        OptionalParam[Literal["exact", "estimated", "none"]],
        Field(
            description="How `total` is found: counted (default for offset pages); counted on a "
            "sample where counting all would take long; or not at all, `total` is null (default "
            "for cursor pages)",
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
        """How to count, by the kind of page where the client has not said."""
        return self.count or ("exact" if self.cursor is None else "none")


class ErrorDetailBody(TypedDict):
    """One wrong field and what is wrong with it."""

    field: Annotated[
        str,
        Field(
            description="Where: `query`, `path`, `header` or `body`, and the way from there",
            examples=["query.limit"],
        ),
    ]
    message: Annotated[
        str,
        Field(
            description="The rule that it breaks",
            examples=["Input should be less than or equal to 100"],
        ),
    ]


class _ErrorRequired(TypedDict):
    code: Annotated[str, Field(description="Stable, for programs", examples=["VALIDATION_ERROR"])]
    message: Annotated[str, Field(description="For people", examples=["The request is not valid"])]
    request_id: Annotated[
        str,
        Field(
            description="The response's X-Request-ID",
            examples=["0f8fad5bd9cb469fa16570867728950e"],
        ),
    ]


class ErrorBody(_ErrorRequired, total=False):
    """What went wrong."""

    details: Annotated[
        list[ErrorDetailBody], Field(description="Only where single fields are wrong")
    ]


class ErrorEnvelope(TypedDict):
    """Every error of every route."""

    error: ErrorBody
