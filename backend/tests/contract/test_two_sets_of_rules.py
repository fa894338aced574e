"""The request schemas and the CHECK constraints refuse the same values."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.support.factories import HotelFactory, insert_hotel

from app.ingestion import rules
from app.models import Category, Deal, Hotel
from app.schemas.deals import DealCreate
from app.schemas.hotels import HotelCreate

pytestmark = pytest.mark.integration

DEAL: dict[str, Any] = {
    "external_id": 1,
    "room_type": "suite",
    "star_rating": 4,
    "price_per_night": "10.00",
    "original_price": "20.00",
    "discount_percent": 10,
    "checkin_date": "2027-01-01",
    "checkout_date": "2027-01-02",
    "is_available": True,
}
HOTEL = {"name": "Inn", "city": "Berlin", "country": "Germany", "phone": "+49"}

DEAL_CASES: list[tuple[str, Any]] = [
    *[("external_id", value) for value in (None, 1, 0, -1, 2**63 - 1, 2**63)],
    *[("room_type", value) for value in ("x", "x" * 50, "x" * 51, "", "ü" * 50, "ü" * 51)],
    *[("star_rating", value) for value in (0, 1, 5, 6)],
    *[("discount_percent", value) for value in (-1, 0, 100, 101)],
    *[("checkout_date", value) for value in ("2026-12-31", "2027-01-01", "2027-01-02")],
    *[
        (price, value)
        for price in ("price_per_night", "original_price")
        for value in ("0.00", "0.01", "99999999.99", "100000000")
    ],
    *[(field, None) for field in DEAL if field != "external_id"],
]
HOTEL_CASES: list[tuple[str, Any]] = [
    (field, value)
    for field in HOTEL
    for value in (None, "", "x", "x" * 40, "x" * 41, "x" * 200, "x" * 201, "ü" * 200)
]


def schema_accepts(model: type[BaseModel], fields: Mapping[str, Any]) -> bool:
    try:
        model.model_validate(fields)
    except ValidationError:
        return False
    return True


async def database_accepts(
    session: AsyncSession, table: type[Any], fields: Mapping[str, Any]
) -> bool:
    try:
        async with session.begin_nested():
            await session.execute(insert(table).values(**fields))
    except DBAPIError:
        return False
    return True


@pytest.mark.parametrize(("field", "value"), DEAL_CASES, ids=lambda value: str(value)[:12])
async def test_deal_values_are_judged_alike_by_schema_and_database(
    session: AsyncSession, field: str, value: Any
) -> None:
    hotel = await insert_hotel(await session.connection(), HotelFactory.build())
    fields = {**DEAL, "hotel_id": hotel.id, field: value}
    by_schema = schema_accepts(DealCreate, fields)
    stored = (
        DealCreate.model_validate(fields).model_dump() if by_schema else to_column_values(fields)
    )
    stored.pop("categories", None)

    assert await database_accepts(session, Deal, stored) == by_schema


def to_column_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values that the schema refused to the types of the columns."""
    good = DealCreate.model_validate({**DEAL, "hotel_id": 1}).model_dump()
    return {
        name: value
        if value is None or not isinstance(value, str)
        else convert_like(good[name], value)
        for name, value in fields.items()
    }


def convert_like(example: Any, value: str) -> Any:
    if isinstance(example, str):
        return value
    if hasattr(example, "isoformat"):
        return datetime.fromisoformat(value).replace(tzinfo=UTC).date()
    return type(example)(value)


@pytest.mark.parametrize(("field", "value"), HOTEL_CASES, ids=lambda value: str(value)[:12])
async def test_hotel_values_are_judged_alike_by_schema_and_database(
    session: AsyncSession, field: str, value: Any
) -> None:
    fields = {**HOTEL, field: value}

    assert await database_accepts(session, Hotel, fields) == schema_accepts(HotelCreate, fields)


@pytest.mark.parametrize("name", ["", "x", "x" * 50, "x" * 51, "ü" * 50, "ü" * 51])
async def test_category_names_are_judged_alike_by_schema_and_database(
    session: AsyncSession, name: str
) -> None:
    fields = {**DEAL, "hotel_id": 1, "categories": [name]}

    taken = await database_accepts(session, Category, {"name": name})

    assert taken == schema_accepts(DealCreate, fields)


@pytest.mark.parametrize(
    "space", [" ", "\t", "\n", "\x1c", "\x1f", "\x85", "\xa0", "\u2028", "\u3000"]
)
def test_text_surrounding_space_is_stripped_as_in_load(space: str) -> None:
    hotel = HotelCreate.model_validate({**HOTEL, "name": f"{space}Inn{space}{space}"})

    assert hotel.name == rules.text(200)(f"{space}Inn{space}{space}") == "Inn"
    assert not schema_accepts(HotelCreate, {**HOTEL, "name": space})
