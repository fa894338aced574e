"""Measure the benefit of price steps for reads and their cost for writes (docs/adr/0010).

    uv run python benchmarks/price_counts.py [--rows 1000000] [--inserts 3000]

Reads compare the exact total between two prices with a count of all matching deals. Writes insert
one deal per transaction, at revisions 0008 and 0009 in turns, with fsync on. Only the ratios are
comparable between machines.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from sqlalchemy import func, select

from app.core.config import Settings
from app.db.migrations import upgrade_async
from app.db.provisioning import DatabaseUrls
from app.db.session import Database
from app.embedded.server import EmbeddedServer, embedded_postgres
from app.models import Deal
from app.repositories.deals.filters import conditions, total

HOTELS = 300
INSERT = """
    INSERT INTO deals (hotel_id, room_type, star_rating, price_per_night, original_price,
        discount_percent, checkin_date, checkout_date, is_available)
"""
ONE = f"{INSERT} VALUES ($1, 'suite', 4, $2, 500, 10, '2027-01-01', '2027-01-05', true)"
MANY = f"""{INSERT}
    SELECT 1 + n % {HOTELS}, 'suite', 1 + n % 5, 20 + n::bigint * 7919 % 40000 / 100.0, 500, 10,
        '2027-01-01', '2027-01-05', n % 4 > 0
    FROM generate_series(1, $1::int) AS n
"""
BOUNDS = {"at steps": ("100", "300"), "between steps": ("104.50", "311.99")}
KINDS: Mapping[str, dict[str, Any]] = {
    "all": {},
    "available": {"available_only": True},
    "of a city": {"city": "city 3"},
}


async def prepare(
    server: EmbeddedServer, name: str, revision: str, rows: int
) -> asyncpg.Connection:
    """Create a database at a revision with `rows` deals, and return a connection to it."""
    url = server.url(driver="asyncpg").replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    await upgrade_async(server.url(name), revision)
    connection = await asyncpg.connect(server.url(name).replace("+asyncpg", ""))
    await connection.execute(
        "INSERT INTO hotels (name, city, country, phone)"
        " SELECT 'Hotel ' || n, 'City ' || n % 18, 'X', '+' || n"
        " FROM generate_series(1, $1::int) AS n",
        HOTELS,
    )
    await connection.execute(MANY, rows)
    await connection.execute("VACUUM ANALYZE")
    return connection


async def timed(
    database: Database, statement: Any, parameters: dict[str, Any]
) -> tuple[int, float]:
    """Return the number that a statement finds, and its median time in milliseconds."""
    seconds = []
    for _ in range(11):
        started = time.perf_counter()
        rows = await database.reader.rows(statement, parameters)
        seconds.append(time.perf_counter() - started)
    return rows[0][0], median(seconds) * 1e3


async def compare_reads(server: EmbeddedServer, name: str) -> None:
    """Print the time of each kind of total, by price steps and by counting."""
    urls = DatabaseUrls(server.url(name), server.url(name))
    async with Database(urls, Settings(_env_file=None)) as database:
        for kind, others in KINDS.items():
            for where, (low, high) in BOUNDS.items():
                filters = {**others, "price_min": Decimal(low), "price_max": Decimal(high)}
                names = frozenset(filters)
                filters.pop("available_only", None)
                by_steps = select(total(names, "exact", single_category=False))
                by_rows = select(func.count()).select_from(Deal).where(*conditions(names))
                found, quick = await timed(database, by_steps, filters)
                counted, slow = await timed(database, by_rows, filters)
                if found != counted:
                    raise AssertionError(f"{filters}: {found} is not {counted}")
                print(f"{kind:10} {where:14} {found:>9,} {quick:8.2f} ms, counted {slow:8.2f} ms")


async def compare_writes(connections: Mapping[str, asyncpg.Connection], inserts: int) -> None:
    """Print the median time of an insert at each revision."""
    prepared = {name: await connection.prepare(ONE) for name, connection in connections.items()}
    seconds: dict[str, list[float]] = {name: [] for name in connections}
    for _ in range(inserts):
        deal = random.randint(1, HOTELS), Decimal(random.randint(2000, 42000)) / 100  # noqa: S311
        for name in random.sample(list(prepared), len(prepared)):
            started = time.perf_counter()
            await prepared[name].fetch(*deal)
            seconds[name].append(time.perf_counter() - started)
    for name, taken in seconds.items():
        print(f"insert of one deal, {name:8} {median(taken) * 1e6:6.0f} µs")


async def measure(server: EmbeddedServer, rows: int, inserts: int) -> None:
    """Measure writes on databases of equal size, then reads on a large one."""
    small = {
        "before": await prepare(server, "before", "0008", 50_000),
        "head": await prepare(server, "head", "0009", 50_000),
    }
    await compare_writes(small, inserts)
    large = await prepare(server, "large", "head", rows)
    for connection in (*small.values(), large):
        await connection.close()
    await compare_reads(server, "large")


def main() -> None:
    """Start a server and run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--inserts", type=int, default=3_000)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_postgres(Path(folder) / "data") as server,
    ):
        asyncio.run(measure(server, arguments.rows, arguments.inserts))


if __name__ == "__main__":
    main()
