"""Statements that write deals. Each statement changes a deal and its categories together.

With ORM objects, a write would need three flushes, and would have to load the deal's categories
first (docs/adr/0007).
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import TextClause

from app.models import Deal, Hotel
from app.repositories.deals.columns import (
    SETTABLE,
    deal_columns,
    deal_columns_of,
    deal_response,
    parameter,
    with_prices_as_text,
)
from app.repositories.hotels.read import average_with_pending
from app.repositories.pagination import NO_TOTAL
from app.schemas.deals import DealResponse

# The new deal's category names in their stored form. Compute them from the parameter, because a
# statement cannot read the rows that it inserts into `deal_categories`.
_LINKED = """ARRAY(
            SELECT DISTINCT lower_case(btrim(name)) COLLATE "C" AS name
            FROM unnest(CAST(:categories AS text[])) AS name ORDER BY name
        )"""
# The hotel's average star rating after the commit, when a trigger has added the new deal.
_AVERAGE = """CAST(
            round((hotel.star_sum + added.star_rating)::numeric / (hotel.deal_count + 1), 2)
            AS double precision
        )"""
# The row lock keeps other transactions from deleting the hotel before the foreign key is checked.
_INSERT = text(
    f"""
    WITH hotel AS (
        SELECT * FROM hotels WHERE id = :hotel_id FOR KEY SHARE
    ), added AS (
        INSERT INTO deals ({", ".join(SETTABLE)})
        SELECT {", ".join(map(parameter, SETTABLE))} FROM hotel
        RETURNING *
    ), linked AS (
        INSERT INTO deal_categories (deal_id, category_id)
        SELECT added.id, category_id
        FROM added, ensure_categories(CAST(:categories AS text[])) AS category_id
    )
    SELECT NULL, {deal_columns_of("added", "hotel", _LINKED, _AVERAGE)}
    FROM added CROSS JOIN hotel
    """  # noqa: S608 - names of columns
)

_DELETE = text("DELETE FROM deals WHERE id = :id AND version_id = :version RETURNING id")

_VERSION = select(Deal.version_id).where(Deal.id == bindparam("id"))

_ONE = with_prices_as_text(
    select(NO_TOTAL, *deal_columns(Deal, average_with_pending()))
    .join(Hotel, Hotel.id == Deal.hotel_id)
    .where(Deal.id == bindparam("id"))
)


class DealWriteRepository:
    """Statements that write deals in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, values: Mapping[str, Any]) -> DealResponse | None:
        """Insert a deal and its categories. Return the deal, or None if the hotel does not exist.

        Raises:
            IntegrityError: another deal has the same `external_id`.
        """
        row = (await self._session.execute(_INSERT, values)).one_or_none()
        return deal_response(row) if row else None

    async def get(self, deal_id: int) -> DealResponse | None:
        """Return a deal and its hotel's average, including this transaction's own changes."""
        row = (await self._session.execute(_ONE, {"id": deal_id})).one_or_none()
        return deal_response(row) if row else None

    async def version(self, deal_id: int) -> int | None:
        """Return the deal's version, or None if the deal does not exist."""
        version: int | None = await self._session.scalar(_VERSION, {"id": deal_id})
        return version

    async def change(self, deal_id: int, version: int, values: Mapping[str, Any]) -> bool:
        """Update a deal if it still has the given version. Return False if it does not.

        `values` maps column names to values, and may contain `categories`.

        Raises:
            IntegrityError: the hotel does not exist, or another deal has the `external_id`.
        """
        parameters = {**values, "id": deal_id, "version": version}
        return await self._session.scalar(_update(values), parameters) is not None

    async def remove(self, deal_id: int, version: int) -> bool:
        """Delete a deal if it still has the given version. Return False if it does not."""
        parameters = {"id": deal_id, "version": version}
        return await self._session.scalar(_DELETE, parameters) is not None


def _update(values: Mapping[str, Any]) -> TextClause:
    """Build an UPDATE that increments the version, because the trigger ignores categories."""
    changes = [f"{name} = {parameter(name)}" for name in values if name in SETTABLE]
    links = _RELINK if "categories" in values else ""
    return text(
        f"""
        WITH changed AS (
            UPDATE deals SET {", ".join([*changes, "version_id = version_id + 1"])}
            WHERE id = :id AND version_id = :version
            RETURNING id
        ){links}
        SELECT id FROM changed
        """  # noqa: S608 - names of columns
    )


_RELINK = """, wanted AS MATERIALIZED (
            SELECT changed.id AS deal_id, category_id
            FROM changed, ensure_categories(CAST(:categories AS text[])) AS category_id
        ), unlinked AS (
            DELETE FROM deal_categories USING changed
            WHERE deal_id = changed.id AND category_id NOT IN (SELECT category_id FROM wanted)
        ), linked AS (
            INSERT INTO deal_categories (deal_id, category_id)
            SELECT deal_id, category_id FROM wanted
            ON CONFLICT DO NOTHING
        )"""
