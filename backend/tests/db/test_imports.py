"""Constraints of the table `imports`."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.integration

VALID_IMPORT = {
    "state": "'queued'",
    "finished_at": "NULL",
    "strict": "false",
    "dry_run": "false",
    "file_name": "'deals.csv'",
    "bytes_total": "1",
    "sha256": "sha256('x')",
    "created_by": "'somebody'",
}


async def insert_import(session: AsyncSession, **changes: str) -> None:
    values = {**VALID_IMPORT, **changes}
    await session.execute(
        text(f"INSERT INTO imports ({', '.join(values)}) VALUES ({', '.join(values.values())})")
    )


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"state": "'done'", "finished_at": "now()"}, "ck_imports_state"),
        ({"finished_at": "now()"}, "ck_imports_finished_at"),
        ({"state": "'running'", "finished_at": "now()"}, "ck_imports_finished_at"),
        ({"state": "'succeeded'"}, "ck_imports_finished_at"),
        ({"state": "'cancelled'"}, "ck_imports_finished_at"),
        ({"file_name": "''"}, "ck_imports_file_name"),
        ({"file_name": "repeat('é', 256)"}, "ck_imports_file_name"),
        ({"bytes_total": "0"}, "ck_imports_bytes_total"),
        ({"sha256": "'x'"}, "ck_imports_sha256"),
    ],
)
async def test_import_invalid_row_violates_constraint(
    session: AsyncSession, changes: dict[str, str], constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        await insert_import(session, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"file_name": "NULL"},
        {"file_name": "repeat('é', 255)"},
        {"state": "'failed'", "finished_at": "now()"},
    ],
)
async def test_import_valid_row_is_stored(session: AsyncSession, changes: dict[str, str]) -> None:
    await insert_import(session, **changes)


async def test_import_deletion_deletes_its_chunks(session: AsyncSession) -> None:
    await insert_import(session)
    await session.execute(
        text("INSERT INTO import_chunks SELECT id, 0, 1, 1, 0, 0, 0, 0, 1, NULL, '{}' FROM imports")
    )
    await session.execute(text("DELETE FROM imports"))

    assert await session.scalar(text("SELECT count(*) FROM import_chunks")) == 0
