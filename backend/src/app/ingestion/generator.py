"""A generator of deals.csv files with random but realistic deals.

The same seed generates the same bytes, because all chunks have a fixed size and use one stream of
random numbers, and the gzip header contains no time.
"""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.errors import DealsError
from app.ingestion.arrow_text import Texts, column_of, content, end_with, join, numerals, pick
from app.schemas.deals_csv import COLUMNS

Numbers = NDArray[np.int64]

HEADER = f"{','.join(COLUMNS)}\n".encode()
HOTELS = 150
CHUNK_ROWS = 100_000

# Each city with its country and telephone prefix.
_CITIES = (
    ("New York", "United States", "+1-212"),
    ("Los Angeles", "United States", "+1-310"),
    ("Chicago", "United States", "+1-312"),
    ("San Francisco", "United States", "+1-415"),
    ("Toronto", "Canada", "+1-416"),
    ("Montreal", "Canada", "+1-514"),
    ("Vancouver", "Canada", "+1-604"),
    ("Calgary", "Canada", "+1-403"),
    ("London", "United Kingdom", "+44-20"),
    ("Paris", "France", "+33-1"),
    ("Berlin", "Germany", "+49-30"),
    ("Rome", "Italy", "+39-06"),
    ("Barcelona", "Spain", "+34-93"),
    ("Amsterdam", "Netherlands", "+31-20"),
    ("Tokyo", "Japan", "+81-3"),
    ("Sydney", "Australia", "+61-2"),
    ("Singapore", "Singapore", "+65-6"),
    ("Dubai", "United Arab Emirates", "+971-4"),
)
_FIRST = (
    *("Grand", "Royal", "Golden", "Silver", "Crown"),
    *("Metro", "City", "Harbor", "Lakeside", "Sunset"),
)
_SECOND = (
    *("Hotel", "Inn", "Lodge", "Plaza", "Resort"),
    *("Court", "Tower", "Residence", "Palace", "Central"),
)
_ROOM_TYPES = ("economy", "standard", "deluxe", "suite", "penthouse")
_CATEGORIES = ("beach", "boutique", "business", "family", "luxury")
# The shares of deals with one to five stars, and with one to three categories (1.6 on average).
_STARS = (0.02, 0.07, 0.22, 0.34, 0.35)
_CATEGORY_COUNTS = (0.5, 0.4, 0.1)
_AVAILABLE = 0.8
_LEAST_CENTS, _MOST_CENTS = 70_00, 900_00
_LEAST_DISCOUNT, _MOST_DISCOUNT = 5, 60
_FIRST_CREATED, _CREATED_DAYS = date(2026, 1, 1), 320
_FIRST_NIGHT, _NIGHTS, _LONGEST_STAY = date(2026, 12, 20), 345, 14


def generate(
    path: Path,
    *,
    rows: int = 50_000,
    seed: int = 20261120,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write `rows` deals to `path`, compressed with gzip if the file name ends in `.gz`.

    The deals are written to a temporary file. The complete file is renamed to `path`. `progress` is
    called with the count of rows written so far.

    Raises:
        DealsError: the file cannot be written.
    """
    random = np.random.default_rng(seed)
    hotels = _hotels(random)
    partial = path.with_name(f"{path.name}.part")
    try:
        with _output(partial, compressed=path.suffix == ".gz") as write:
            write(HEADER)
            for first in range(0, rows, CHUNK_ROWS):
                count = min(CHUNK_ROWS, rows - first)
                write(_lines(random, hotels, first + 1, count))
                if progress:
                    progress(first + count)
        partial.replace(path)
    except OSError as error:
        raise DealsError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _output(path: Path, *, compressed: bool) -> Iterator[Callable[[bytes], object]]:
    with path.open("wb") as raw:
        if not compressed:
            yield raw.write
            return
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
            yield file.write


def _hotels(random: np.random.Generator) -> tuple[Texts, Texts]:
    """Return each hotel's name, city and country as CSV text, and each hotel's phone.

    Names are unique within a city, and all phones are unique.
    """
    names = [f"{first} {second}" for first in _FIRST for second in _SECOND]
    places: list[str] = []
    phones: list[str] = []
    per_city = -(-HOTELS // len(_CITIES))
    for city, country, prefix in _CITIES:
        chosen = random.choice(len(names), per_city, replace=False)
        numbers = random.choice(np.arange(1000, 10_000), per_city, replace=False)
        places += [f"{names[name]},{city},{country}" for name in chosen]
        phones += [f"{prefix}-555-{number}" for number in numbers]
    kept = np.sort(random.choice(len(places), HOTELS, replace=False))
    return column_of([places[i] for i in kept]), column_of([phones[i] for i in kept])


def _lines(
    random: np.random.Generator, hotels: tuple[Texts, Texts], first_id: int, count: int
) -> bytes:
    """Return `count` rows of CSV text, with ids that start at `first_id`."""
    hotel = random.integers(HOTELS, size=count)
    discount = random.integers(_LEAST_DISCOUNT, _MOST_DISCOUNT + 1, size=count)
    original, price = _prices(random, discount)
    checkin = random.integers(_NIGHTS, size=count)
    checkout = checkin + random.integers(1, _LONGEST_STAY + 1, size=count)
    days = column_of(_days(_FIRST_NIGHT, _NIGHTS + _LONGEST_STAY))
    available = (random.random(count) < _AVAILABLE).astype(np.int64)
    lines = join(
        ",",
        numerals(np.arange(first_id, first_id + count)),
        pick(hotels[0], hotel),
        numerals(random.choice(len(_STARS), count, p=_STARS) + 1),
        pick(hotels[1], hotel),
        pick(column_of(_ROOM_TYPES), random.integers(len(_ROOM_TYPES), size=count)),
        _money(price),
        _money(original),
        numerals(discount),
        pick(days, checkin),
        pick(days, checkout),
        pick(column_of(("False", "True")), available),
        _categories(random, count),
        _moments(random, count),
    )
    return content(end_with(lines, "\n"))


def _prices(random: np.random.Generator, discount: Numbers) -> tuple[Numbers, Numbers]:
    """Return original and discounted prices in cents.

    An original price is raised by a cent if its discounted price would end in exactly half a cent.
    The discounted price is then the same under every rounding rule.
    """
    original = random.integers(_LEAST_CENTS, _MOST_CENTS + 1, size=len(discount))
    original += original * (100 - discount) % 100 == 50  # noqa: PLR2004 - half of 100
    return original, (original * (100 - discount) + 50) // 100


def _categories(random: np.random.Generator, count: int) -> Texts:
    """Return one to three distinct categories for each deal, in random order."""
    choices: list[str] = []
    starts = [0]
    for number in range(1, len(_CATEGORY_COUNTS) + 1):
        chosen = [",".join(names) for names in permutations(_CATEGORIES, number)]
        choices += [f'"{names}"' if number > 1 else names for names in chosen]
        starts.append(len(choices))
    numbers = random.choice(len(_CATEGORY_COUNTS), count, p=_CATEGORY_COUNTS)
    bounds = np.array(starts)
    return pick(column_of(choices), random.integers(bounds[numbers], bounds[numbers + 1]))


def _moments(random: np.random.Generator, count: int) -> Texts:
    days = column_of(_days(_FIRST_CREATED, _CREATED_DAYS))
    two_digits = column_of([f"{number:02d}" for number in range(60)])
    seconds = random.integers(86_400, size=count)
    clock = join(
        ":",
        pick(two_digits, seconds // 3600),
        pick(two_digits, seconds // 60 % 60),
        pick(two_digits, seconds % 60),
    )
    return join(" ", pick(days, random.integers(_CREATED_DAYS, size=count)), clock)


def _days(first: date, count: int) -> list[str]:
    return [str(first + timedelta(days=day)) for day in range(count)]


def _money(cents: Numbers) -> Texts:
    """Format amounts as Python prints floats, for example 199.5 instead of 199.50."""
    fractions = column_of([f"{c // 10}" if c % 10 == 0 else f"{c:02d}" for c in range(100)])
    return join(".", numerals(cents // 100), pick(fractions, cents % 100))
