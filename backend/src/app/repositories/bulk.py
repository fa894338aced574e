"""Bulk writes of deals. The number of SQL statements does not grow with the number of rows.

Rows are sent as one JSON document. To avoid deadlocks, all writers of the service lock hotels in
order of `id` and deals in order of `external_id`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.repositories.deals.columns import SETTABLE, assigned, declared

_COLUMNS = ", ".join(("id", *SETTABLE))
_ROWS = f"""jsonb_to_recordset(:rows) AS given (
        id bigint, {declared(SETTABLE)}, categories text[]
    )"""

_LOCK_HOTELS = text(
    "SELECT id FROM hotels WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR KEY SHARE"
)
_LOWER_CASE = text("SELECT name, lower_case(name) FROM unnest(CAST(:names AS text[])) AS name")
_ENSURE_CATEGORIES = text("SELECT count(*) FROM ensure_categories(CAST(:names AS text[]))")
_LOCK_DEALS = text(
    f"""
    SELECT {_COLUMNS},
        ARRAY(
            SELECT name FROM deal_categories JOIN categories ON categories.id = category_id
            WHERE deal_id = deals.id ORDER BY name COLLATE "C"
        ) AS categories
    FROM deals WHERE external_id = ANY(CAST(:external_ids AS bigint[]))
    ORDER BY external_id FOR NO KEY UPDATE
    """  # noqa: S608 - names of columns
)
_NEW_IDS = text(
    "SELECT nextval(pg_get_serial_sequence('deals', 'id')) FROM generate_series(1, :count)"
)
_INSERT = text(
    f"""
    INSERT INTO deals ({_COLUMNS})
    SELECT {_COLUMNS} FROM {_ROWS} ORDER BY external_id
    ON CONFLICT (external_id) DO NOTHING
    RETURNING id
    """  # noqa: S608 - constants
).bindparams(bindparam("rows", type_=JSONB))
# Increment the version, because the version trigger does not see changes in `deal_categories`.
_UPDATE = text(
    f"""
    UPDATE deals SET
        {assigned("given", (name for name in SETTABLE if name != "external_id"))},
        version_id = version_id + 1
    FROM {_ROWS} WHERE deals.id = given.id
    """  # noqa: S608 - constants
).bindparams(bindparam("rows", type_=JSONB))
_UNLINK = text(
    f"""
    DELETE FROM deal_categories USING {_ROWS}, categories
    WHERE deal_id = given.id AND category_id = categories.id
        AND categories.name <> ALL (given.categories)
    """  # noqa: S608 - constants
).bindparams(bindparam("rows", type_=JSONB))
_LINK = text(
    f"""
    INSERT INTO deal_categories (deal_id, category_id)
    SELECT deals.id, categories.id
    FROM {_ROWS}
    JOIN deals ON deals.id = given.id
    JOIN categories ON categories.name = ANY (given.categories)
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING
    """  # noqa: S608 - constants
).bindparams(bindparam("rows", type_=JSONB))


class BulkRepository:
    """Statements for bulk writes in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock_hotels(self, ids: Collection[int]) -> set[int]:
        """Lock the existing hotels among `ids` until the commit, and return their ids."""
        rows = await self._session.execute(_LOCK_HOTELS, {"ids": sorted(ids)})
        return set(rows.scalars())

    async def lock_deals(self, external_ids: Collection[int]) -> Sequence[Mapping[str, Any]]:
        """Lock the existing deals with these `external_ids` until the commit, and return them."""
        parameters = {"external_ids": sorted(external_ids)}
        rows = await self._session.execute(_LOCK_DEALS, parameters)
        return [dict(row) for row in rows.mappings()]

    async def lower_case(self, names: Collection[str]) -> dict[str, str]:
        """Map each name to its lower-case form, computed by the SQL function `lower_case`."""
        rows = await self._session.execute(_LOWER_CASE, {"names": sorted(names)})
        return {row.name: row.lower_case for row in rows}

    async def new_ids(self, count: int) -> list[int]:
        """Reserve `count` ids for new deals."""
        return list((await self._session.execute(_NEW_IDS, {"count": count})).scalars())

    async def insert(self, rows: list[dict[str, Any]]) -> set[int]:
        """Insert deals, skip those whose `external_id` is taken, and return the inserted ids."""
        return set((await self._session.execute(_INSERT, {"rows": rows})).scalars())

    async def update(self, rows: list[dict[str, Any]]) -> None:
        """Overwrite the columns of existing deals, except for `external_id` and categories."""
        await self._session.execute(_UPDATE, {"rows": rows})

    async def replace_categories(self, rows: list[dict[str, Any]], names: Collection[str]) -> None:
        """Replace the categories of the deals in `rows`, and create missing categories."""
        await self._session.execute(_ENSURE_CATEGORIES, {"names": sorted(names)})
        await self._session.execute(_UNLINK, {"rows": rows})
        await self._session.execute(_LINK, {"rows": rows})
