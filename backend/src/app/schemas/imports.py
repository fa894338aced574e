from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from app.schemas.common import Id, IfSent, NextCursor, PageQuery, Timestamp

ImportState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
# From here on nothing changes any more.
FINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})

Count = Annotated[int, Field(ge=0)]


class ImportLinks(TypedDict):
    """Where to go on, relative to the service."""

    self: str
    events: Annotated[str, Field(description="A stream of this object as it changes")]
    rejects: Annotated[
        str | None, Field(description="The rejected rows as CSV; null while there are none")
    ]


class Import(TypedDict):
    """An uploaded file and what became of its rows.

    `rows_read` is the sum of `inserted`, `updated`, `unchanged`, `duplicates` (identical rows with
    an id the file has had before), `rejected` and `held_back` (good rows that a strict import has
    not stored). All but the last of a dry run are what an import would have done.
    """

    id: Id
    state: ImportState
    file_name: Annotated[str | None, Field(description="What the client called the file")]
    strict: bool
    dry_run: bool
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
    ignored_columns: Annotated[list[str], Field(description="Columns of the file without meaning")]
    error: Annotated[str | None, Field(description="What went wrong last")]
    created_by: Annotated[str, Field(description="Name of the API key")]
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    links: ImportLinks


class ImportPage(TypedDict):
    """A page of imports, the latest first."""

    items: list[Import]
    total: Annotated[int | None, Field(description="Matching imports; null with `count=none`")]
    skip: Annotated[int | None, Field(description="Null on a cursor page")]
    limit: int
    next_cursor: NextCursor


class ImportQuery(PageQuery):
    """Filter and page of `GET /imports`."""

    state: IfSent[ImportState] = None


class ImportOptions(BaseModel):
    """How to treat an uploaded file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strict: Annotated[bool, Field(description="Load all rows, or none if one is rejected")] = False
    dry_run: Annotated[
        bool, Field(description="Check and compare everything, and store nothing")
    ] = False
    force: Annotated[
        bool, Field(description="Load the file although the same bytes were loaded before")
    ] = False
