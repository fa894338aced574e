"""Imports of uploaded files, and the result of each chunk."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.limits import MAX_FILE_NAME_LENGTH
from app.db.base import Base


class Import(Base):
    """The import of one uploaded file. `ImportChunk` holds the counters.

    `attempt` counts the attempts of workers. Only the latest attempt may store anything for the
    import. `failures` counts the attempts that failed for a temporary reason. After such a failure,
    the import is queued without a job until the time `retry_at`. All attempts use `chunk_rows`, the
    chunk size of the first attempt. `columns` holds the file's column names, and is null until a
    worker has opened the file. `object_name` is null after the stored upload has been deleted.
    """

    __tablename__ = "imports"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"
        ),
        CheckConstraint(
            "(finished_at IS NULL) = (state IN ('queued', 'running'))", name="finished_at"
        ),
        CheckConstraint(
            f"char_length(file_name) BETWEEN 1 AND {MAX_FILE_NAME_LENGTH}", name="file_name"
        ),
        CheckConstraint("bytes_total > 0", name="bytes_total"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256"),
        Index(None, "sha256"),
        # This index finds uploads whose retention time has passed. The index is small, because few
        # imports still have an upload.
        Index(
            "ix_imports_finished_at_stored",
            "finished_at",
            postgresql_where=text("object_name IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    state: Mapped[str] = mapped_column(Text, server_default="queued")
    strict: Mapped[bool] = mapped_column(Boolean)
    dry_run: Mapped[bool] = mapped_column(Boolean)
    file_name: Mapped[str | None] = mapped_column(Text)
    object_name: Mapped[str | None] = mapped_column(Text)
    bytes_total: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    created_by: Mapped[str] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    chunk_rows: Mapped[int | None] = mapped_column(Integer)
    columns: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    error: Mapped[str | None] = mapped_column(Text)
    retry_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class ImportChunk(Base):
    """The result of one chunk of an import.

    `rejects` holds the rejected rows as gzip-compressed CSV. It is null if no row was rejected, or
    if the rejects have been deleted. `rejected_lines` holds the line number at which each rejected
    row starts. `warnings` maps warning codes to row counts.
    """

    __tablename__ = "import_chunks"

    import_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    rows_read: Mapped[int] = mapped_column(Integer)
    inserted: Mapped[int] = mapped_column(BigInteger)
    updated: Mapped[int] = mapped_column(BigInteger)
    unchanged: Mapped[int] = mapped_column(BigInteger)
    duplicates: Mapped[int] = mapped_column(Integer)
    rejected: Mapped[int] = mapped_column(Integer)
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    rejects: Mapped[bytes | None] = mapped_column(LargeBinary)
    rejected_lines: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    warnings: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
