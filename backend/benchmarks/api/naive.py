"""A naive version of the service: ORM objects, loaders, COUNT(*), and averages per request.

It is a fair comparison: it loads relationships eagerly, without a query per row.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, field_validator
from sqlalchemy import Column, ForeignKey, Table, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)


class _Base(DeclarativeBase):
    pass


_deal_categories = Table(
    "deal_categories",
    _Base.metadata,
    Column("deal_id", ForeignKey("deals.id"), primary_key=True),
    Column("category_id", ForeignKey("categories.id"), primary_key=True),
)


class _Category(_Base):
    __tablename__ = "categories"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class _Hotel(_Base):
    __tablename__ = "hotels"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    city: Mapped[str]
    country: Mapped[str]
    phone: Mapped[str]


class _Deal(_Base):
    __tablename__ = "deals"
    id: Mapped[int] = mapped_column(primary_key=True)
    external_id: Mapped[int | None]
    hotel_id: Mapped[int] = mapped_column(ForeignKey("hotels.id"))
    room_type: Mapped[str]
    star_rating: Mapped[int]
    price_per_night: Mapped[Decimal]
    original_price: Mapped[Decimal]
    discount_percent: Mapped[int]
    checkin_date: Mapped[date]
    checkout_date: Mapped[date]
    is_available: Mapped[bool]
    version: Mapped[int] = mapped_column("version_id")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    hotel: Mapped[_Hotel] = relationship()
    categories: Mapped[list[_Category]] = relationship(secondary=_deal_categories)


class HotelOut(BaseModel):
    """The hotel of a deal."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    city: str
    country: str
    phone: str
    avg_star_rating: float | None = None


class DealOut(BaseModel):
    """A deal with its hotel and categories."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    external_id: int | None
    hotel_id: int
    room_type: str
    star_rating: int
    price_per_night: Decimal
    original_price: Decimal
    discount_percent: int
    checkin_date: date
    checkout_date: date
    is_available: bool
    categories: list[str]
    version: int
    created_at: datetime
    updated_at: datetime
    hotel: HotelOut

    @field_validator("categories", mode="before")
    @classmethod
    def _names(cls, categories: list[Any]) -> list[str]:
        return sorted(c if isinstance(c, str) else c.name for c in categories)


class PageOut(BaseModel):
    """A page of deals."""

    items: list[DealOut]
    total: int
    skip: int
    limit: int
    next_cursor: None = None


class CityOut(BaseModel):
    """The average price and the number of deals of a city."""

    city: str
    avg_price: Decimal
    deal_count: int


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(
        os.environ["DATABASE_URL"],
        connect_args={"server_settings": {"jit": "off", "timezone": "UTC"}},
    )
    app.state.sessions = async_sessionmaker(engine)
    yield
    await engine.dispose()


app = FastAPI(lifespan=_lifespan)


async def _session() -> AsyncIterator[AsyncSession]:
    async with app.state.sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(_session)]


@app.get("/deals", response_model=PageOut)
async def deals(session: Session, skip: int = 0, limit: int = 20) -> Any:
    """Return a page of deals by three queries and one of a loader."""
    total = await session.scalar(select(func.count()).select_from(_Deal))
    loaded = select(_Deal).options(joinedload(_Deal.hotel), selectinload(_Deal.categories))
    rows = (await session.scalars(loaded.order_by(_Deal.id).offset(skip).limit(limit))).all()
    items = await _shown(session, list(rows))
    return {"items": items, "total": total, "skip": skip, "limit": limit}


@app.get("/deals/stats", response_model=list[CityOut])
async def statistics(session: Session) -> Any:
    """Return the statistics of cities, grouped for each request."""
    count = func.count().label("deal_count")
    average = func.round(func.avg(_Deal.price_per_night), 2).label("avg_price")
    rows = await session.execute(
        select(_Hotel.city, average, count)
        .join(_Deal, _Deal.hotel_id == _Hotel.id)
        .group_by(_Hotel.city)
        .order_by(count.desc(), _Hotel.city.collate("C"))
    )
    return [dict(row) for row in rows.mappings()]


async def _shown(session: AsyncSession, rows: list[_Deal]) -> list[DealOut]:
    """Return the deals with their hotels' averages."""
    hotels = {row.hotel_id for row in rows}
    averages: dict[int, Decimal] = dict(
        (
            await session.execute(
                select(_Deal.hotel_id, func.round(func.avg(_Deal.star_rating), 2))
                .where(_Deal.hotel_id.in_(hotels))
                .group_by(_Deal.hotel_id)
            )
        )
        .tuples()
        .all()
    )
    items = [DealOut.model_validate(row) for row in rows]
    for item in items:
        item.hotel.avg_star_rating = float(averages[item.hotel_id])
    return items
