from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.schemas.common import (
    Id,
    OptionalParam,
    PageQuery,
    Timestamp,
    openapi_examples,
)

ImportState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
# From here on nothing changes any more.
FINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})

Count = Annotated[int, Field(ge=0)]


class ImportLinks(TypedDict):
    """Where to go on, relative to the service."""

    self: Annotated[str, Field(description="This object")]
    events: Annotated[str, Field(description="A stream of this object as it changes")]
    rejects: Annotated[
        str | None, Field(description="The rejected rows as CSV; null while there are none")
    ]


class RowWarning(TypedDict):
    """Something odd about some of the rows that were read, whatever became of them."""

    code: Annotated[str, Field(description="Stable code", examples=["surplus_empty_fields"])]
    message: Annotated[str, Field(description="Text to show")]
    rows: Annotated[int, Field(ge=1, description="Number of rows")]


IMPORT_EXAMPLE: dict[str, Any] = {
    "id": 1,
    "state": "queued",
    "file_name": "deals.csv",
    "strict": False,
    "dry_run": False,
    "bytes_total": 8123456,
    "bytes_read": 0,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "rows_read": 0,
    "inserted": 0,
    "updated": 0,
    "unchanged": 0,
    "duplicates": 0,
    "rejected": 0,
    "held_back": 0,
    "rows_per_second": 0.0,
    "warnings": [],
    "ignored_columns": [],
    "error": None,
    "retry_at": None,
    "created_by": "nightly-feed",
    "created_at": "2026-11-21T11:35:02.886107Z",
    "started_at": None,
    "finished_at": None,
    "links": {
        "self": "/imports/1",
        "events": "/imports/1/events",
        "rejects": None,
    },
}
ENDED_EXAMPLE: dict[str, Any] = {
    **IMPORT_EXAMPLE,
    "state": "succeeded",
    "bytes_read": 8123456,
    "rows_read": 50000,
    "inserted": 49210,
    "unchanged": 600,
    "duplicates": 180,
    "rejected": 10,
    "rows_per_second": 38461.5,
    "ignored_columns": ["remarks"],
    "started_at": "2026-11-21T11:35:02.9Z",
    "finished_at": "2026-11-21T11:35:04.2Z",
    "links": {**IMPORT_EXAMPLE["links"], "rejects": "/imports/1/rejects"},
}


@with_config(openapi_examples(ENDED_EXAMPLE, IMPORT_EXAMPLE))
class ImportResponse(TypedDict):
    """An uploaded file and what became of its rows.

    `rows_read` is the sum of `inserted`, `updated`, `unchanged`, `duplicates` (identical rows with
    an id the file has had before), `rejected` and `held_back` (good rows that a strict import has
    not stored). All but the last of a dry run are what an import would have done.
    """

    id: Id
    state: ImportState
    file_name: Annotated[str | None, Field(description="What the client called the file")]
    strict: Annotated[bool, Field(description="All rows or none")]
    dry_run: Annotated[bool, Field(description="Nothing was to be stored")]
    bytes_total: Annotated[int, Field(ge=1, description="Size of the upload, as it was sent")]
    bytes_read: Annotated[int, Field(ge=0, description="How far into it the rows are done")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="Of the bytes as sent")]
    rows_read: Count
    inserted: Count
    updated: Count
    unchanged: Count
    duplicates: Count
    rejected: Count
    held_back: Count
    rows_per_second: Annotated[float, Field(ge=0, description="Since it was started")]
    warnings: Annotated[
        list[RowWarning], Field(description="Oddities among the rows that were read")
    ]
    ignored_columns: Annotated[list[str], Field(description="Columns of the file without meaning")]
    error: Annotated[str | None, Field(description="What went wrong last")]
    retry_at: Annotated[
        Timestamp | None,
        Field(description="Time of the next attempt, or null if none is scheduled"),
    ]
    created_by: Annotated[str, Field(description="Name of the API key")]
    created_at: Timestamp
    started_at: Annotated[Timestamp | None, Field(description="Null while it is queued")]
    finished_at: Annotated[Timestamp | None, Field(description="Null until it has ended")]
    links: ImportLinks


class ImportQuery(PageQuery):
    """Filter and page of `GET /imports`."""

    state: Annotated[
        OptionalParam[ImportState],
        Field(description="Imports in this state only", examples=["running"]),
    ] = None


class ImportOptions(BaseModel):
    """How to treat an uploaded file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strict: Annotated[
        bool, Field(description="Load all rows, or none if one is rejected", examples=[True])
    ] = False
    dry_run: Annotated[
        bool, Field(description="Check and compare everything, and store nothing", examples=[True])
    ] = False
    force: Annotated[
        bool,
        Field(
            description="Load the file although the same bytes were loaded before", examples=[True]
        ),
    ] = False
