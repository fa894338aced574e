"""POST /deals of the service against a hand-written asyncpg handler that does the same inserts.

    uv run python benchmarks/post.py [--seconds 5] [--rounds 3] [--connections 16]

Both run as a process of their own on one embedded PostgreSQL with default settings (fsync on), take
turns, and commit each deal with its two categories. Compare the ratio; the figures are the
machine's.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from app.db.embedded import embedded_postgres
from app.db.migrations import upgrade

BODY = {
    "room_type": "suite",
    "star_rating": 4,
    "price_per_night": "176.18",
    "original_price": "244.69",
    "discount_percent": 28,
    "checkin_date": "2026-12-01",
    "checkout_date": "2026-12-06",
    "is_available": True,
    "categories": ["boutique", "luxury"],
}
HOTELS = 150

FLOOR = """
import json, os
from datetime import date
from decimal import Decimal
import asyncpg

pool = None

async def app(scope, receive, send):
    global pool
    if scope["type"] == "lifespan":
        await receive()
        pool = await asyncpg.create_pool(os.environ["DSN"], min_size=5, max_size=15)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await pool.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    content = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body"):
            break
    deal = json.loads(content)
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            "INSERT INTO deals (hotel_id, room_type, star_rating, price_per_night, original_price,"
            " discount_percent, checkin_date, checkout_date, is_available)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id, created_at",
            deal["hotel_id"], deal["room_type"], deal["star_rating"],
            Decimal(deal["price_per_night"]), Decimal(deal["original_price"]),
            deal["discount_percent"], date.fromisoformat(deal["checkin_date"]),
            date.fromisoformat(deal["checkout_date"]), deal["is_available"],
        )
        await connection.execute(
            "INSERT INTO deal_categories SELECT $1, id FROM categories WHERE name = ANY($2)",
            row["id"], deal["categories"],
        )
    deal |= {"id": row["id"], "created_at": row["created_at"].isoformat()}
    body = json.dumps(deal).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    """A process that serves on the port for the length of the block."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(  # noqa: S603 - our own commands
        command, env=os.environ | environment, stdout=quiet, stderr=quiet
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


async def client(port: int, number: int, until: float) -> int:
    """Post one deal after the other over one connection; how many were confirmed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.monotonic() < until:
        body = json.dumps(BODY | {"hotel_id": 1 + (done * 31 + number * 7) % HOTELS}).encode()
        writer.write(
            b"POST /deals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 201"):
            raise RuntimeError(head.decode())
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().splitlines()
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        done += 1
    writer.close()
    return done


async def rate(port: int, connections: int, seconds: float) -> float:
    """Confirmed deals a second."""
    until = time.monotonic() + seconds
    counts = await asyncio.gather(*(client(port, n, until) for n in range(connections)))
    return sum(counts) / seconds


async def prepare(dsn: str) -> None:
    """Hotels and categories, as both sides expect them."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "INSERT INTO hotels (name, city, country, phone)"
        " SELECT 'Hotel ' || n, 'City ' || n % 18, 'X', '+' || n"
        " FROM generate_series(1, $1::int) AS n",
        HOTELS,
    )
    await connection.execute("INSERT INTO categories (name) VALUES ('boutique'), ('luxury')")
    await connection.close()


def measure(arguments: argparse.Namespace, url: str, folder: Path) -> dict[str, list[float]]:
    """Rates of both sides, in turns."""
    dsn = url.replace("+asyncpg", "")
    asyncio.run(prepare(dsn))
    (folder / "floor.py").write_text(FLOOR)
    ports = {"service": free_port(), "floor": free_port()}
    deals = str(Path(sys.executable).with_name("deals"))
    uvicorn = [sys.executable, "-m", "uvicorn", "floor:app", "--no-access-log", "--loop", "uvloop"]
    rates: dict[str, list[float]] = {"service": [], "floor": []}
    environment: dict[str, Any] = {"DATABASE_URL": url, "DSN": dsn, "PYTHONPATH": str(folder)}
    with (
        server([deals, "serve", "--port", str(ports["service"])], environment, ports["service"]),
        server([*uvicorn, "--port", str(ports["floor"])], environment, ports["floor"]),
    ):
        for warming in (True, *[False] * arguments.rounds):
            for name, port in ports.items():
                seconds = 1.0 if warming else arguments.seconds
                found = asyncio.run(rate(port, arguments.connections, seconds))
                if not warming:
                    rates[name].append(found)
    return rates


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, embedded_postgres(Path(name) / "data") as running:
        upgrade(running.url())
        rates = measure(arguments, running.url(), Path(name))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, median in medians.items():
        print(f"{name:8} {median:7.0f} deals/s")
    print(f"the service does {medians['service'] / medians['floor']:.2f} of the floor")


if __name__ == "__main__":
    main()
