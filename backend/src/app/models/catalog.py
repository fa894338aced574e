"""The catalog: hotels, their deals, and the deals' categories.

The three models form one bounded context, so they share a file (docs/adr/0005). Access to an
unloaded relationship raises an error, because repositories decide what a query loads.
"""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    FetchedValue,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.core import limits
from app.db.base import Base
from app.models.checks import trimmed_text

MONEY = Numeric(limits.PRICE_DIGITS, limits.PRICE_PLACES)
NO_PRICES = text("array_fill(0, ARRAY[cardinality(price_steps())])")

# A hotel's lexemes: the case-folded words of its name and city, split at spaces. No text-search
# configuration is used, because its parser would depend on the database's locale.
SEARCH_WORDS = (
    "array_to_tsvector(array_remove(string_to_array(fold_case(name || ' ' || city), ' '), ''))"
)


class Hotel(Base):
    """A hotel with the totals of its deals.

    The columns from `deal_count` on are derived from the hotel's deals. Triggers update these
    columns, whichever program writes the deals. PostgreSQL generates `star_rating` from `star_sum`
    and `deal_count` (docs/adr/0002). `prices_below[n]` counts the deals below the nth price of the
    SQL function `price_steps()` (docs/adr/0010). Case-insensitive searches use the generated
    columns `city_folded`, `country_folded` and `search_words` (docs/adr/0003).
    """

    __tablename__ = "hotels"
    __table_args__ = (
        UniqueConstraint("phone"),
        UniqueConstraint("name", "city", "country"),
        trimmed_text("name", limits.MAX_HOTEL_TEXT_LENGTH),
        trimmed_text("city", limits.MAX_HOTEL_TEXT_LENGTH),
        trimmed_text("country", limits.MAX_HOTEL_TEXT_LENGTH),
        trimmed_text("phone", limits.MAX_PHONE_LENGTH),
        Index(None, "city_folded"),
        Index(None, "country_folded"),
        Index(None, "search_words", postgresql_using="gin"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    city: Mapped[str] = mapped_column(Text)
    country: Mapped[str] = mapped_column(Text)
    phone: Mapped[str] = mapped_column(Text)
    version_id: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), server_onupdate=FetchedValue()
    )

    city_folded: Mapped[str] = mapped_column(Text, Computed("fold_case(city)", persisted=True))
    country_folded: Mapped[str] = mapped_column(
        Text, Computed("fold_case(country)", persisted=True)
    )
    search_words: Mapped[str] = mapped_column(TSVECTOR, Computed(SEARCH_WORDS, persisted=True))

    deal_count: Mapped[int] = mapped_column(
        BigInteger, server_default=text("0"), server_onupdate=FetchedValue()
    )
    available_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    star_sum: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    price_sum: Mapped[Decimal] = mapped_column(Numeric(20, 2), server_default=text("0"))
    available_price_sum: Mapped[Decimal] = mapped_column(Numeric(20, 2), server_default=text("0"))
    star_rating: Mapped[Decimal | None] = mapped_column(
        Numeric, Computed("star_sum::numeric / nullif(deal_count, 0)", persisted=True)
    )
    prices_below: Mapped[list[int]] = mapped_column(ARRAY(Integer), server_default=NO_PRICES)
    available_prices_below: Mapped[list[int]] = mapped_column(
        ARRAY(Integer), server_default=NO_PRICES
    )

    # A foreign key prevents the deletion of a hotel with deals. With passive_deletes="all", a flush
    # that deletes a hotel does not set the `hotel_id` of its deals to null.
    deals: Mapped[list["Deal"]] = relationship(
        back_populates="hotel", lazy="raise", passive_deletes="all"
    )

    # A trigger increments the version if a statement does not. With eager_defaults, INSERT and
    # UPDATE return the values that the server sets. An async session cannot load these values
    # later.
    __mapper_args__ = {  # noqa: RUF012 - SQLAlchemy declares it so
        "version_id_col": version_id,
        "eager_defaults": True,
    }


deal_categories = Table(
    "deal_categories",
    Base.metadata,
    Column("deal_id", ForeignKey("deals.id", ondelete="CASCADE"), primary_key=True),
    Column("category_id", ForeignKey("categories.id", ondelete="RESTRICT"), primary_key=True),
    Index(None, "category_id", "deal_id"),
)


class Deal(Base):
    """An offer of a room type in a hotel from a check-in to a checkout date.

    `external_id` is an optional id from outside the service, such as the id in a deals.csv file.
    `version_id` increases with each change by any writer, so that optimistic locking detects the
    change.
    """

    __tablename__ = "deals"
    __table_args__ = (
        UniqueConstraint("external_id"),
        CheckConstraint("external_id > 0", name="external_id"),
        trimmed_text("room_type", limits.MAX_ROOM_TYPE_LENGTH),
        CheckConstraint(
            f"star_rating BETWEEN {limits.MIN_STARS} AND {limits.MAX_STARS}", name="star_rating"
        ),
        CheckConstraint("price_per_night > 0", name="price_per_night"),
        CheckConstraint("original_price > 0", name="original_price"),
        CheckConstraint(
            f"discount_percent BETWEEN 0 AND {limits.MAX_DISCOUNT_PERCENT}",
            name="discount_percent",
        ),
        CheckConstraint("checkout_date > checkin_date", name="dates"),
        Index(None, "hotel_id", "id"),
        Index(None, "hotel_id", "price_per_night", postgresql_include=["is_available"]),
        Index(None, "price_per_night", "id"),
        Index(None, "discount_percent", "id"),
        Index(None, "star_rating", "id"),
        Index(None, "checkin_date", "id"),
        # Ties are sorted by ascending id, even if the sort field is descending. If many deals share
        # a column's values, the descending order therefore needs a separate index.
        Index("ix_deals_discount_percent_desc_id", text("discount_percent DESC"), "id"),
        Index("ix_deals_star_rating_desc_id", text("star_rating DESC"), "id"),
        Index("ix_deals_checkin_date_desc_id", text("checkin_date DESC"), "id"),
        Index(None, "created_at", "id"),
        Index(None, "room_type", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    external_id: Mapped[int | None] = mapped_column(BigInteger)
    hotel_id: Mapped[int] = mapped_column(ForeignKey("hotels.id", ondelete="RESTRICT"))
    room_type: Mapped[str] = mapped_column(Text)
    star_rating: Mapped[int] = mapped_column(Integer)
    price_per_night: Mapped[Decimal] = mapped_column(MONEY)
    original_price: Mapped[Decimal] = mapped_column(MONEY)
    discount_percent: Mapped[int] = mapped_column(Integer)
    checkin_date: Mapped[date] = mapped_column(Date)
    checkout_date: Mapped[date] = mapped_column(Date)
    is_available: Mapped[bool] = mapped_column(server_default=text("true"))
    version_id: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    hotel: Mapped[Hotel] = relationship(back_populates="deals", lazy="raise")
    # When a deal is deleted, a foreign key deletes the deal's rows in `deal_categories`.
    categories: Mapped[list["Category"]] = relationship(
        secondary=deal_categories, back_populates="deals", lazy="raise", passive_deletes=True
    )


class Category(Base):
    """A label for deals with a unique, trimmed, lower-case name."""

    __tablename__ = "categories"
    __table_args__ = (
        UniqueConstraint("name"),
        trimmed_text("name", limits.MAX_CATEGORY_LENGTH),
        CheckConstraint("name = lower_case(name)", name="name_lower_case"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text)

    deals: Mapped[list[Deal]] = relationship(
        secondary=deal_categories, back_populates="categories", lazy="raise", passive_deletes=True
    )
