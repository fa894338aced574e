"""Compare a load with the simplest way to store the same rows, and measure a large load.

    mise run bench:load [--rows 50000] [--runs 5] [--large 5000000]

The baseline is `DataFrame.to_sql(method="multi", chunksize=1000)` of the flat 15-column table,
without checks, hotels, categories, indexes or derived numbers. Both take turns on one embedded
PostgreSQL with its default settings, so that their ratio is valid on a noisy machine. The large
load runs in a separate process, and the kernel reports the peak memory of that process.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pandas as pd
import sqlalchemy as sa

from app.core.config import Settings
from app.db.migrations import upgrade
from app.db.provisioning import DatabaseUrls
from app.db.session import Database
from app.embedded.server import EmbeddedServer, embedded_postgres
from app.ingestion.generator import generate
from app.services.load_reports import LoadSummary
from app.services.loading import LoadingService


async def load(url: str, path: Path) -> LoadSummary:
    """Load a file as the service does."""
    async with Database(DatabaseUrls(url, url), Settings(_env_file=None)) as database:
        return await LoadingService(database).load(path)


def to_sql(url: str, path: Path) -> float:
    """Return the seconds of the baseline, without the time to read the file."""
    engine = sa.create_engine(url)
    frame = pd.read_csv(path)
    started = time.perf_counter()
    frame.to_sql("flat", engine, method="multi", chunksize=1000, index=False, if_exists="replace")
    engine.dispose()
    return time.perf_counter() - started


def fresh_database(server: EmbeddedServer, name: str) -> str:
    """Create an empty database at the latest revision, and return its URL."""
    engine = sa.create_engine(server.url(driver="psycopg2"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    upgrade(server.url(name))
    return server.url(name)


def compare(server: EmbeddedServer, path: Path, runs: int) -> None:
    """Run the baseline and the loads in turns, and print the medians."""
    floors, loads, again = [], [], []
    for _ in range(runs):
        floors.append(to_sql(server.url(driver="psycopg2"), path))
        url = fresh_database(server, "loaded")
        loads.append(asyncio.run(load(url, path)).seconds)
        summary = asyncio.run(load(url, path))
        if summary.unchanged != summary.rows_read:
            sys.exit(f"the second load changed something: {summary}")
        again.append(summary.seconds)
    floor = median(floors)
    print(f"{'to_sql of the flat table':28}{floor:8.2f} s")
    for name, seconds in (("load", median(loads)), ("load again, all unchanged", median(again))):
        print(f"{name:28}{seconds:8.2f} s   {floor / seconds:5.1f} times as fast")


def load_large(server: EmbeddedServer, path: Path) -> None:
    """Run one load in a separate process, and print its rate and peak memory."""
    url = fresh_database(server, "large")
    child = subprocess.run(
        [sys.executable, __file__, "--child", url, str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    outcome = json.loads(child.stdout)
    rate = outcome["inserted"] / outcome["seconds"]
    print(
        f"large load: {outcome['inserted']:,} rows in {outcome['seconds']:.0f} s, "
        f"{rate:,.0f} rows/s, peak memory {outcome['peak_bytes'] / 1e6:.0f} MB"
    )


def load_here(url: str, path: Path) -> None:
    """Load a file in this process, and print the result as JSON."""
    summary = asdict(asyncio.run(load(url, path)))
    print(json.dumps({**summary, "peak_bytes": peak_memory()}))


def peak_memory() -> int:
    """Return the peak memory of this process in bytes.

    `ru_maxrss` would be wrong: a child process starts with its parent's value, and the parent held
    a table.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kilobytes,) = re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(kilobytes) * 1024


def main() -> None:
    """Generate the files, and run the comparison or the large load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large", type=int, default=0, metavar="ROWS")
    parser.add_argument("--child", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        load_here(arguments.child[0], Path(arguments.child[1]))
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_postgres(Path(folder) / "data") as server,
    ):
        path = Path(folder) / "deals.csv"
        generate(path, rows=arguments.rows)
        compare(server, path, arguments.runs)
        if arguments.large:
            generate(path, rows=arguments.large)
            load_large(server, path)


if __name__ == "__main__":
    main()
