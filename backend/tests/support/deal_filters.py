"""Every filter of `GET /deals`, beside the same filter in Python."""

from collections.abc import Callable
from decimal import Decimal

from tests.conftest import Catalog
from tests.support.factories import DealRow

DealPredicate = Callable[[DealRow, Catalog], bool]


def average_stars(catalog: Catalog, hotel_id: int) -> Decimal:
    ratings = [deal.star_rating for deal in catalog.deals if deal.hotel_id == hotel_id]
    return Decimal(sum(ratings)) / len(ratings)


def search_words(deal: DealRow, catalog: Catalog) -> list[str]:
    hotel = catalog.hotels[deal.hotel_id]
    return f"{hotel.name} {hotel.city}".split()


DEAL_FILTERS: list[tuple[str, DealPredicate]] = [
    ("city=berlin", lambda d, c: c.hotels[d.hotel_id].city == "Berlin"),
    ("city=%20PARIS%20", lambda d, c: c.hotels[d.hotel_id].city == "Paris"),
    ("city=zürich", lambda d, c: c.hotels[d.hotel_id].city.casefold() == "zürich"),
    ("city=ZÜRICH", lambda d, c: c.hotels[d.hotel_id].city.casefold() == "zürich"),
    ("city=Zu%CC%88rich", lambda d, c: c.hotels[d.hotel_id].city.casefold() == "zürich"),
    ("city=istanbul", lambda d, c: c.hotels[d.hotel_id].city == "İstanbul"),
    ("city=Berl", lambda _d, _c: False),
    ("country=SOMEWHERE", lambda _d, _c: True),
    ("country=elsewhere", lambda _d, _c: False),
    ("min_stars=3", lambda d, c: average_stars(c, d.hotel_id) >= 3),
    ("min_stars=3.25", lambda d, c: average_stars(c, d.hotel_id) >= Decimal("3.25")),
    ("min_stars=0", lambda _d, _c: True),
    ("min_stars=5", lambda d, c: average_stars(c, d.hotel_id) >= 5),
    ("price_min=300", lambda d, _c: d.price_per_night >= 300),
    ("price_max=300.50", lambda d, _c: d.price_per_night <= Decimal("300.5")),
    ("price_min=200&price_max=400", lambda d, _c: 200 <= d.price_per_night <= 400),
    ("category=beach", lambda d, _c: "beach" in d.categories),
    ("category=BEACH", lambda d, _c: "beach" in d.categories),
    (
        "category=beach&category=luxury",
        lambda d, _c: bool({"beach", "luxury"} & set(d.categories)),
    ),
    ("category=beach&category=nothing", lambda d, _c: "beach" in d.categories),
    ("category=unused", lambda _d, _c: False),
    ("category=nothing", lambda _d, _c: False),
    (
        "category=beach&available_only=true",
        lambda d, _c: "beach" in d.categories and d.is_available,
    ),
    ("room_type=suite", lambda d, _c: d.room_type == "suite"),
    ("available_only=true", lambda d, _c: d.is_available),
    ("available_only=false", lambda _d, _c: True),
    ("min_discount=40", lambda d, _c: d.discount_percent >= 40),
    ("checkin_from=2027-05-01", lambda d, _c: d.checkin_date.isoformat() >= "2027-05-01"),
    ("checkin_to=2027-05-01", lambda d, _c: d.checkin_date.isoformat() <= "2027-05-01"),
    (
        "checkin_from=2027-05-01&checkin_to=2027-05-31",
        lambda d, _c: "2027-05-01" <= d.checkin_date.isoformat() <= "2027-05-31",
    ),
    ("q=o'h", lambda d, c: c.hotels[d.hotel_id].name.startswith("O'H")),
    ("q=100%25", lambda d, c: "100%" in c.hotels[d.hotel_id].name),
    ("q=inn%20zür", lambda d, c: c.hotels[d.hotel_id].name.endswith("Inn")),
    ("q=grand_", lambda d, c: c.hotels[d.hotel_id].name == "Grand_Hotel"),
    ("q=grandX", lambda _d, _c: False),
    ("q=%25", lambda _d, _c: False),
    ("q=_", lambda _d, _c: False),
    ("q=hotel", lambda d, c: any(w.lower().startswith("hotel") for w in search_words(d, c))),
    ("q=%27%20%7C%20%27", lambda _d, _c: False),
    ("q=%5C", lambda _d, _c: False),
    ("q=a:*", lambda _d, _c: False),
    (
        "city=berlin&min_stars=2.5&price_min=100&price_max=700&available_only=true",
        lambda d, c: (
            c.hotels[d.hotel_id].city == "Berlin"
            and average_stars(c, d.hotel_id) >= Decimal("2.5")
            and 100 <= d.price_per_night <= 700
            and d.is_available
        ),
    ),
    (
        "city=berlin&available_only=true",
        lambda d, c: c.hotels[d.hotel_id].city == "Berlin" and d.is_available,
    ),
]
