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
# An import in one of these states no longer changes.
FINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})

Count = Annotated[int, Field(ge=0)]


class ImportLinks(TypedDict):
    """Paths of related resources."""

    self: Annotated[str, Field(description="Path of this import")]
    events: Annotated[str, Field(description="Path of the event stream of this import")]
    rejects: Annotated[
        str | None,
        Field(description="Path of the rejected rows as CSV, or null if there are none"),
    ]


class RowWarning(TypedDict):
    """A warning about rows of the file. Rows with a warning can be loaded or rejected."""

    code: Annotated[
        str, Field(description="Stable code for programs", examples=["surplus_empty_fields"])
    ]
    message: Annotated[str, Field(description="Explanation for people")]
    rows: Annotated[int, Field(ge=1, description="Number of rows with this warning")]


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
    """An uploaded file with the state and the counters of its import.

    `rows_read` is the sum of `inserted`, `updated`, `unchanged`, `duplicates` (rows that are
    identical to an earlier row with the same id), `rejected` and `held_back` (valid rows that a
    strict import has not stored). In a dry run the counters report what an import would do.
    """

    id: Id
    state: ImportState
    file_name: Annotated[str | None, Field(description="File name sent by the client")]
    strict: Annotated[bool, Field(description="Load all rows, or none if a row is rejected")]
    dry_run: Annotated[bool, Field(description="Check the file and store nothing")]
    bytes_total: Annotated[int, Field(ge=1, description="Size of the uploaded file in bytes")]
    bytes_read: Annotated[int, Field(ge=0, description="Processed bytes of the file")]
    sha256: Annotated[
        str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the uploaded file")
    ]
    rows_read: Count
    inserted: Count
    updated: Count
    unchanged: Count
    duplicates: Count
    rejected: Count
    held_back: Count
    rows_per_second: Annotated[
        float, Field(ge=0, description="Average rows per second since the import started")
    ]
    warnings: Annotated[list[RowWarning], Field(description="Warnings about rows of the file")]
    ignored_columns: Annotated[
        list[str], Field(description="Unknown columns of the file, which the service ignores")
    ]
    error: Annotated[str | None, Field(description="Last error, or null if there was none")]
    retry_at: Annotated[
        Timestamp | None,
        Field(description="Time of the next attempt, or null if none is scheduled"),
    ]
    created_by: Annotated[str, Field(description="Name of the API key that uploaded the file")]
    created_at: Timestamp
    started_at: Annotated[
        Timestamp | None, Field(description="Start of the first attempt, or null before it")
    ]
    finished_at: Annotated[
        Timestamp | None, Field(description="End of the import, or null until it has ended")
    ]
    links: ImportLinks


class ImportQuery(PageQuery):
    """Filter and page of `GET /imports`."""

    state: Annotated[
        OptionalParam[ImportState],
        Field(description="Only imports in this state", examples=["running"]),
    ] = None


class ImportOptions(BaseModel):
    """Query parameters of `POST /imports`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strict: Annotated[
        bool, Field(description="Load all rows, or none if a row is rejected", examples=[True])
    ] = False
    dry_run: Annotated[
        bool,
        Field(description="Report what an import would do, and store nothing", examples=[True]),
    ] = False
    force: Annotated[
        bool,
        Field(
            description="Load the file even if a file with the same bytes was uploaded before",
            examples=[True],
        ),
    ] = False
