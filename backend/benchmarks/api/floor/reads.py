"""The floor's routes that read."""

from decimal import Decimal
from typing import Any

import asyncpg

from benchmarks.api.floor import cursors, sql
from benchmarks.api.floor.http import Answer, answer, arguments, page, tagged

_NOT_FILTERS = {"sort", "skip", "limit", "cursor", "count"}
_NUMBERS = {"min_stars", "price_min", "price_max"}
_PLACES = {
    "id": 0,
    "star_rating": 4,
    "price_per_night": 5,
    "discount_percent": 7,
    "checkin_date": 8,
    "created_at": 13,
}
_DEAL_TOTAL, _HOTEL_TOTAL = 21, 10


class Reads:
    """The read routes, with a connection pool and a key for cursors."""

    def __init__(self, pool: asyncpg.Pool, key: bytes) -> None:
        self._pool = pool
        self._key = key

    async def deals(self, query: bytes) -> Answer:
        """Return a page of deals."""
        given = arguments(query)
        sort, limit = given.get("sort", "id"), int(given.get("limit", 20))
        filters = tuple(sorted(pair for pair in given.items() if pair[0] not in _NOT_FILTERS))
        binding = cursors.binding_of("deals", sort, filters)
        values: list[Any] = [Decimal(v) if name in _NUMBERS else v for name, v in filters]
        cursor = given.get("cursor")
        skip = None if cursor else int(given.get("skip", 0))
        start: sql.Start = "after" if cursor else "offset" if skip else "first"
        if cursor:
            values += cursors.decoded(self._key, binding, cursor)
        elif skip:
            values.append(skip)
        counted = given.get("count", "none" if cursor else "exact") != "none"
        statement = sql.deals_page(
            tuple(name for name, _ in filters), sort, start, limit + 1, counted=counted
        )
        rows = await self._pool.fetch(statement, *values)
        total = rows[0][_DEAL_TOTAL] if rows else None
        items = [deal(row) for row in rows[:limit] if row[0] is not None]
        further = None
        if len(rows) > limit:
            fields = _sort_fields(sort)
            last = [rows[limit - 1][_PLACES[field]] for field in fields]
            further = cursors.encoded(self._key, binding, fields, last)
        content = _page(items, total, skip, limit, further)
        return page("/deals", query, content, len(items))

    async def hotels(self, query: bytes) -> Answer:
        """Return a page of hotels by offset."""
        given = arguments(query)
        skip, limit = int(given.get("skip", 0)), int(given.get("limit", 20))
        start: sql.Start = "offset" if skip else "first"
        rows = await self._pool.fetch(sql.hotels_page(start, limit + 1), *([skip] if skip else []))
        total = rows[0][_HOTEL_TOTAL]
        items = [hotel(row) for row in rows[:limit] if row[0] is not None]
        further = None
        if len(rows) > limit:
            binding = cursors.binding_of("hotels", "id", ())
            further = cursors.encoded(self._key, binding, ["id"], [rows[limit - 1][0]])
        content = _page(items, total, skip, limit, further)
        return page("/hotels", query, content, len(items))

    async def deal(self, deal_id: int, if_none_match: bytes | None) -> Answer:
        """Return one deal, or 304 if the client's ETag matches."""
        row = await self._pool.fetchrow(sql.ONE_DEAL, deal_id)
        if row is None:
            return 404, [], b""
        status, headers, body = tagged(deal(row))
        tag = headers[-1]
        if if_none_match == tag[1]:
            return 304, [tag], b""
        return status, headers, body

    async def statistics(self) -> Answer:
        """Return each city's average price and number of deals."""
        rows = await self._pool.fetch(sql.STATISTICS)
        return answer([{"city": r[0], "avg_price": r[1], "deal_count": r[2]} for r in rows])


def _sort_fields(sort: str) -> list[str]:
    fields = [field.lstrip("-") for field in sort.split(",")]
    return fields if fields[-1] == "id" else [*fields, "id"]


def _page(
    items: list[dict[str, Any]], total: int | None, skip: int | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    return {"items": items, "total": total, "skip": skip, "limit": limit, "next_cursor": cursor}


def deal(row: asyncpg.Record) -> dict[str, Any]:
    """Return a deal from a row of `sql.shown`."""
    return {
        "id": row[0],
        "external_id": row[1],
        "hotel_id": row[2],
        "room_type": row[3],
        "star_rating": row[4],
        "price_per_night": row[5],
        "original_price": row[6],
        "discount_percent": row[7],
        "checkin_date": row[8],
        "checkout_date": row[9],
        "is_available": row[10],
        "categories": row[11],
        "version": row[12],
        "created_at": row[13],
        "updated_at": row[14],
        "hotel": {
            "id": row[15],
            "name": row[16],
            "city": row[17],
            "country": row[18],
            "phone": row[19],
            "avg_star_rating": row[20],
        },
    }


def hotel(row: asyncpg.Record) -> dict[str, Any]:
    """Return a hotel from a row of `sql.hotels_page`."""
    return {
        "id": row[0],
        "name": row[1],
        "city": row[2],
        "country": row[3],
        "phone": row[4],
        "avg_star_rating": row[5],
        "deal_count": row[6],
        "version": row[7],
        "created_at": row[8],
        "updated_at": row[9],
    }
