"""Verification of the stored derived numbers against recomputed values (docs/adr/0002)."""

from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.repositories.deals.columns import assigned, qualified

# SQL expressions that recompute a hotel's stored totals.
_TOTALS = {
    "deal_count": "count(deals.id)",
    "available_count": "count(deals.id) FILTER (WHERE is_available)",
    "star_sum": "coalesce(sum(deals.star_rating), 0)",
    "price_sum": "coalesce(sum(price_per_night), 0)",
    "available_price_sum": "coalesce(sum(price_per_night) FILTER (WHERE is_available), 0)",
}
_ACTUAL = f"""
    SELECT hotels.id, {", ".join(f"{total} AS {name}" for name, total in _TOTALS.items())}
    FROM hotels LEFT JOIN deals ON deals.hotel_id = hotels.id GROUP BY hotels.id
"""  # noqa: S608 - constants
_NUMBERS = ", ".join(
    f"('{name}', hotels.{name}::numeric, actual.{name}::numeric)" for name in _TOTALS
)

# Count the deals of each hotel between consecutive round prices, including empty intervals.
_IN_STEP = """
    SELECT hotels.id, n AS step,
        coalesce(found.deal_count, 0) AS deal_count,
        coalesce(found.available_count, 0) AS available_count
    FROM hotels CROSS JOIN generate_series(0, cardinality(price_steps()) - 1) AS n
    LEFT JOIN (
        SELECT hotel_id, price_step(price_per_night) AS step,
            count(*) AS deal_count,
            count(*) FILTER (WHERE is_available) AS available_count
        FROM deals GROUP BY 1, 2
    ) AS found ON found.hotel_id = hotels.id AND found.step = n
"""

# Return one row for each wrong number, with the fields of `Drift`.
_DRIFT = text(
    f"""
    WITH hotel_numbers AS (
        SELECT 'hotel' AS what, hotels.id::text AS key, number.*
        FROM hotels JOIN ({_ACTUAL}) AS actual USING (id)
        CROSS JOIN LATERAL (VALUES {_NUMBERS}) AS number (name, stored, actual)
    ),
    step_numbers AS (
        SELECT 'hotel' AS what, in_step.id::text AS key, number.*
        FROM ({_IN_STEP}) AS in_step JOIN hotels USING (id)
        CROSS JOIN LATERAL (VALUES
            ('price step ' || step,
                prices_below[step + 1] - coalesce(prices_below[step], 0),
                in_step.deal_count),
            ('available price step ' || step,
                available_prices_below[step + 1] - coalesce(available_prices_below[step], 0),
                in_step.available_count)
        ) AS number (name, stored, actual)
    ),
    links AS (
        SELECT category_id, (deal_id & 15) AS stripe, count(*) AS deal_count
        FROM deal_categories GROUP BY 1, 2
    ),
    category_numbers AS (
        SELECT 'category' AS what,
            category_id || '/' || stripe AS key,
            'deal_count' AS name,
            category_totals.deal_count::numeric AS stored,
            links.deal_count::numeric AS actual
        FROM category_totals FULL JOIN links USING (category_id, stripe)
    )
    SELECT what, key, name, coalesce(stored, 0) AS stored, coalesce(actual, 0) AS actual
    FROM (
        TABLE hotel_numbers UNION ALL TABLE step_numbers UNION ALL TABLE category_numbers
    ) AS numbers
    WHERE coalesce(stored, 0) <> coalesce(actual, 0)
    ORDER BY what, key, name
    """  # noqa: S608 - a constant
)

_FIX_HOTELS = text(
    f"""
    UPDATE hotels SET {assigned("actual", _TOTALS)}
    FROM ({_ACTUAL}) AS actual
    WHERE hotels.id = actual.id
        AND ({qualified("hotels", _TOTALS)}) IS DISTINCT FROM ({qualified("actual", _TOTALS)})
    """  # noqa: S608 - constants
)

_FIX_PRICES = text(
    f"""
    UPDATE hotels SET
        prices_below = actual.prices_below,
        available_prices_below = actual.available_prices_below
    FROM (
        SELECT id,
            array_agg(deal_count::integer ORDER BY step) AS prices_below,
            array_agg(available_count::integer ORDER BY step) AS available_prices_below
        FROM (
            SELECT id, step,
                sum(deal_count) OVER up_to AS deal_count,
                sum(available_count) OVER up_to AS available_count
            FROM ({_IN_STEP}) AS in_step
            WINDOW up_to AS (PARTITION BY id ORDER BY step)
        ) AS below
        GROUP BY id
    ) AS actual
    WHERE hotels.id = actual.id AND (hotels.prices_below, hotels.available_prices_below)
        IS DISTINCT FROM (actual.prices_below, actual.available_prices_below)
    """  # noqa: S608 - a constant
)

_FIX_CATEGORIES = text(
    """
    INSERT INTO category_totals (category_id, stripe, deal_count)
    SELECT categories.id, stripes.stripe, count(links.deal_id)
    FROM categories CROSS JOIN generate_series(0, 15) AS stripes (stripe)
    LEFT JOIN deal_categories AS links
        ON links.category_id = categories.id AND (links.deal_id & 15) = stripes.stripe
    GROUP BY 1, 2
    ON CONFLICT (category_id, stripe) DO UPDATE SET deal_count = EXCLUDED.deal_count
    WHERE category_totals.deal_count <> EXCLUDED.deal_count
    """
)


class Drift(NamedTuple):
    """A stored derived number that differs from its recomputed value."""

    what: str
    key: str
    name: str
    stored: Decimal
    actual: Decimal


class VerificationRepository:
    """Statements that verify and repair derived numbers in the session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock_writers(self) -> None:
        """Wait for running writers, and block new ones until the commit."""
        await self._session.execute(
            text("LOCK TABLE hotels, deals, deal_categories IN SHARE ROW EXCLUSIVE MODE")
        )

    async def drift(self) -> list[Drift]:
        """Return every stored derived number that differs from its recomputed value."""
        return [Drift(*row) for row in await self._session.execute(_DRIFT)]

    async def repair(self) -> None:
        """Set every derived number to its recomputed value."""
        await self._session.execute(_FIX_HOTELS)
        await self._session.execute(_FIX_PRICES)
        await self._session.execute(_FIX_CATEGORIES)
