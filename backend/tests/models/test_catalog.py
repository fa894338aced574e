"""The ORM models of the catalog: inserts, and relationships in both directions."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload
from sqlalchemy.orm.exc import StaleDataError

from app.models import Category, Deal, Hotel
from app.models.catalog import deal_categories

pytestmark = pytest.mark.integration


def make_hotel(**fields: Any) -> Hotel:
    values = {"name": "Grand Hotel", "city": "Berlin", "country": "Germany", "phone": "+49-30"}
    return Hotel(**values | fields)


def make_deal(**fields: Any) -> Deal:
    values: dict[str, Any] = {
        "room_type": "suite",
        "star_rating": 4,
        "price_per_night": Decimal("80.00"),
        "original_price": Decimal("100.00"),
        "discount_percent": 20,
        "checkin_date": date(2027, 3, 1),
        "checkout_date": date(2027, 3, 5),
    }
    return Deal(**values | fields)


@pytest.fixture
async def deal(session: AsyncSession) -> Deal:
    """Store a deal with a hotel and two categories through the ORM."""
    made = make_deal(hotel=make_hotel())
    made.categories = [Category(name="beach"), Category(name="luxury")]
    session.add(made)
    await session.flush()
    session.expunge_all()
    return made


class TestRelationships:
    async def test_deal_loads_its_hotel_and_categories(
        self, session: AsyncSession, deal: Deal
    ) -> None:
        found = await session.scalar(
            select(Deal).options(joinedload(Deal.hotel), selectinload(Deal.categories))
        )

        assert found is not None
        assert found.hotel.name == "Grand Hotel"
        assert sorted(category.name for category in found.categories) == ["beach", "luxury"]

    async def test_hotel_loads_its_deals(self, session: AsyncSession, deal: Deal) -> None:
        both_ways = selectinload(Hotel.deals).joinedload(Deal.hotel)
        hotel = await session.scalar(select(Hotel).options(both_ways))

        assert hotel is not None
        assert [each.id for each in hotel.deals] == [deal.id]
        assert hotel.deals[0].hotel is hotel

    async def test_category_loads_its_deals(self, session: AsyncSession, deal: Deal) -> None:
        beach = await session.scalar(
            select(Category).where(Category.name == "beach").options(selectinload(Category.deals))
        )

        assert beach is not None
        assert [each.id for each in beach.deals] == [deal.id]

    @pytest.mark.parametrize(
        ("model", "relationship"),
        [(Hotel, "deals"), (Deal, "hotel"), (Deal, "categories"), (Category, "deals")],
    )
    async def test_access_without_loading_raises(
        self, session: AsyncSession, deal: Deal, model: type, relationship: str
    ) -> None:
        found = await session.scalar(select(model).limit(1))

        with pytest.raises(InvalidRequestError, match="lazy='raise'"):
            getattr(found, relationship)

    async def test_delete_deal_removes_its_links_and_no_category(
        self, session: AsyncSession, deal: Deal
    ) -> None:
        found = await session.get(Deal, deal.id)
        await session.delete(found)
        await session.flush()

        assert await session.scalar(select(func.count()).select_from(deal_categories)) == 0
        assert await session.scalar(select(func.count()).select_from(Category)) == 2

    async def test_delete_hotel_with_deals_raises(self, session: AsyncSession, deal: Deal) -> None:
        hotel = await session.get(Hotel, deal.hotel_id)
        await session.delete(hotel)

        with pytest.raises(IntegrityError, match="fk_deals_hotel_id_hotels"):
            await session.flush()

    async def test_replace_categories_keeps_the_shared_ones(
        self, session: AsyncSession, deal: Deal
    ) -> None:
        found = await session.get(Deal, deal.id, options=[selectinload(Deal.categories)])
        assert found is not None
        found.categories = [each for each in found.categories if each.name == "beach"]
        found.categories.append(Category(name="spa"))
        await session.flush()

        names = select(Category.name).join(Category.deals).where(Deal.id == deal.id)
        assert sorted(await session.scalars(names)) == ["beach", "spa"]


class TestDefaults:
    async def test_stored_deal_has_the_defaults_of_the_server(
        self, session: AsyncSession, deal: Deal
    ) -> None:
        found = await session.get(Deal, deal.id)

        assert found is not None
        assert (found.is_available, found.version_id, found.external_id) == (True, 1, None)
        assert found.created_at == found.updated_at

    async def test_stored_hotel_has_the_average_of_its_deals(
        self, session: AsyncSession, deal: Deal
    ) -> None:
        session.add(make_deal(hotel_id=deal.hotel_id, star_rating=5))
        await session.flush()
        hotel = await session.get(Hotel, deal.hotel_id, populate_existing=True)

        assert hotel is not None
        assert (hotel.deal_count, hotel.star_rating) == (2, Decimal("4.5"))


class TestHotelVersion:
    async def test_change_raises_version_once_and_returns_what_the_server_sets(
        self, session: AsyncSession, deal: Deal
    ) -> None:
        hotel = await session.get(Hotel, deal.hotel_id)
        assert hotel is not None
        hotel.city = "Bonn"
        await session.flush()

        assert (hotel.version_id, hotel.city_folded) == (2, "bonn")
        stored = select(Hotel.version_id, Hotel.updated_at).where(Hotel.id == hotel.id)
        assert (await session.execute(stored)).one() == (2, hotel.updated_at)

    async def test_same_value_writes_nothing(self, session: AsyncSession, deal: Deal) -> None:
        hotel = await session.get(Hotel, deal.hotel_id)
        assert hotel is not None
        hotel.city = hotel.city + ""
        await session.flush()

        assert await session.scalar(select(Hotel.version_id)) == 1

    @pytest.mark.parametrize("deleted", [False, True])
    async def test_change_by_another_writer_raises_stale_data_error(
        self, session: AsyncSession, deal: Deal, *, deleted: bool
    ) -> None:
        hotel = await session.get(Hotel, deal.hotel_id)
        assert hotel is not None
        await session.execute(text("DELETE FROM deals"))
        # This writer does not know versions, so the trigger raises the version.
        await session.execute(text("UPDATE hotels SET city = 'Bonn'"))
        if deleted:
            await session.delete(hotel)
        else:
            hotel.city = "Rome"

        with pytest.raises(StaleDataError):
            await session.flush()


class TestConstraints:
    @pytest.mark.parametrize(
        ("field", "value", "constraint"),
        [
            ("external_id", 0, "ck_deals_external_id"),
            ("room_type", " suite", "ck_deals_room_type"),
            ("star_rating", 6, "ck_deals_star_rating"),
            ("price_per_night", Decimal(0), "ck_deals_price_per_night"),
            ("original_price", Decimal(-1), "ck_deals_original_price"),
            ("discount_percent", 101, "ck_deals_discount_percent"),
            ("checkout_date", date(2027, 3, 1), "ck_deals_dates"),
        ],
    )
    async def test_deal_that_breaks_a_check_raises(
        self, session: AsyncSession, field: str, value: Any, constraint: str
    ) -> None:
        session.add(make_deal(hotel=make_hotel(), **{field: value}))

        with pytest.raises(IntegrityError, match=constraint):
            await session.flush()

    @pytest.mark.parametrize("field", ["name", "city", "country", "phone"])
    async def test_hotel_with_blank_text_raises(self, session: AsyncSession, field: str) -> None:
        session.add(make_hotel(**{field: " "}))

        with pytest.raises(IntegrityError, match=f"ck_hotels_{field}"):
            await session.flush()

    async def test_category_in_upper_case_raises(self, session: AsyncSession) -> None:
        session.add(Category(name="Beach"))

        with pytest.raises(IntegrityError, match="ck_categories_name_lower_case"):
            await session.flush()

    @pytest.mark.parametrize(
        ("fields", "constraint"),
        [
            ({"name": "Other"}, "uq_hotels_phone"),
            ({"phone": "+1"}, "uq_hotels_name_city_country"),
        ],
    )
    async def test_second_hotel_with_the_same_identity_raises(
        self, session: AsyncSession, fields: dict[str, str], constraint: str
    ) -> None:
        session.add_all([make_hotel(), make_hotel(**fields)])

        with pytest.raises(IntegrityError, match=constraint):
            await session.flush()

    async def test_category_of_a_deal_cannot_be_deleted(
        self, session: AsyncSession, deal: Deal
    ) -> None:
        with pytest.raises(IntegrityError, match="fk_deal_categories_category_id_categories"):
            await session.execute(delete(Category).where(Category.name == "beach"))
