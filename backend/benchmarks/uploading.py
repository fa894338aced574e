"""Helpers that upload files to a running server and watch their imports."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.api.database import DEALS, Database
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.http import Request, ask

Import = dict[str, Any]

_BLOCK = 1 << 20
_POLL = 0.01
# Attempts of a TRUNCATE, which may deadlock with a worker.
_ATTEMPTS = 5
_DEADLOCK = "40P01"
_LIMIT = 3600.0
_COUNTERS = ("inserted", "updated", "unchanged", "duplicates", "rejected", "held_back")

_TABLES = "imports, import_chunks, deals, hotels, categories, procrastinate_jobs"
# Covers all columns except those that the database generates.
_CHECKSUM = """
SELECT count(*), md5(string_agg(md5(deal::text), '' ORDER BY external_id)) FROM (
    SELECT external_id, hotels.name, city, country, phone, deals.star_rating, room_type,
        price_per_night, original_price, discount_percent, checkin_date, checkout_date,
        is_available, deals.created_at, ARRAY(
            SELECT categories.name
            FROM deal_categories JOIN categories ON categories.id = category_id
            WHERE deal_id = deals.id ORDER BY categories.name COLLATE "C"
        )
    FROM deals JOIN hotels ON hotels.id = hotel_id
) AS deal
"""


@dataclass(frozen=True)
class Upload:
    """The answer to an upload, with times in seconds of the monotonic clock."""

    made: Import
    sent: float
    answered: float


def upload(port: int, content: Iterator[bytes], size: int) -> Upload:
    """POST the blocks of a file, even if the same file was uploaded before."""
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        sent = time.monotonic()
        headers = {"Content-Type": "text/csv", "Content-Length": str(size)}
        connection.request("POST", "/imports?force=true", content, headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != 202:  # noqa: PLR2004 - accepted
            raise BenchmarkError(f"the upload was answered {response.status}: {body[:300]!r}")
        return Upload(json.loads(body), sent, time.monotonic())
    finally:
        connection.close()


def upload_file(port: int, path: Path) -> Upload:
    """POST the file at a path."""
    return upload(port, _blocks(path), path.stat().st_size)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def look(port: int, made: Import) -> Import:
    """Return the current state of an import.

    Raises:
        BenchmarkError: the counters of the import do not add up.
    """
    found: Import = json.loads(ask(port, Request("GET", made["links"]["self"])).body)
    if sum(found[name] for name in _COUNTERS) != found["rows_read"]:
        raise BenchmarkError(f"counters that do not add up: {found}")
    return found


def wait_for_rows(port: int, made: Import, least: int) -> Import:
    """Wait until `least` rows of an import are read or it has succeeded, and return it.

    Raises:
        BenchmarkError: the import failed, was cancelled or did not end in time.
    """
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        found = look(port, made)
        if found["state"] == "succeeded" or found["rows_read"] >= least:
            return found
        if found["state"] in {"failed", "cancelled"}:
            raise BenchmarkError(f"an import has {found['state']}: {found['error']}")
        time.sleep(_POLL)
    raise BenchmarkError(f"import {made['id']} does not end")


def wait(port: int, made: Import) -> Import:
    """Wait until an import has succeeded, and return it."""
    return wait_for_rows(port, made, sys.maxsize)


def first_progress(port: int, made: Import) -> float:
    """Return the time of the first event with rows that were read."""
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("GET", made["links"]["events"])
        for event in _events(connection.getresponse()):
            if event["rows_read"]:
                return time.monotonic()
    finally:
        connection.close()
    raise BenchmarkError("the import ended without progress")


def _events(response: HTTPResponse) -> Iterator[Import]:
    while line := response.readline():
        if line.startswith(b"data:"):
            yield json.loads(line[5:])


@contextmanager
def worker(database: Database, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `deals worker` for the length of the block."""
    log = Path(database.environment["DATA_DIR"]) / "worker.log"
    environment = {**database.environment, **settings}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(DEALS), "worker"], env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_worker(database: Database) -> None:
    """Wait until a worker is registered."""
    while not database.rows("SELECT 1 FROM procrastinate_workers"):
        time.sleep(_POLL)


def load(database: Database, path: Path) -> float:
    """Run `deals load`, and return its reported seconds, without the start of the process."""
    result = subprocess.run(
        [str(DEALS), "load", str(path), "--json"],
        env=database.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise BenchmarkError(f"deals load failed: {result.stderr.strip()[-2000:]}")
    return float(json.loads(result.stdout)["seconds"])


def empty(database: Database) -> None:
    """Remove all rows and all queued jobs while a worker is running.

    TRUNCATE locks the tables one after the other and may deadlock with the worker. The next attempt
    then succeeds.
    """
    for _ in range(_ATTEMPTS):
        try:
            database.run(f"TRUNCATE {_TABLES} CASCADE")
            break
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "pgcode", None) != _DEADLOCK:
                raise
    else:
        raise BenchmarkError(f"{_ATTEMPTS} deadlocks between TRUNCATE and the worker")
    database.tidy()


def checksum(database: Database) -> tuple[int, str]:
    """Return the number of deals and a checksum of their content."""
    count, digest = database.rows(_CHECKSUM)[0]
    return int(count), str(digest)
