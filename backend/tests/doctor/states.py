"""Helpers that diagnose a database and select findings."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy import URL
from tests.doctor.factories import make_context
from tests.support.databases import as_text, dsn
from tests.support.timeouts import TIMEOUT

from app.core.config import Settings
from app.db.migrations import known_revisions
from app.doctor.connection import open_diagnostics
from app.doctor.examination import DoctorService
from app.doctor.findings import Finding

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

INSERT_DEALS = """
    INSERT INTO hotels (name, city, country, phone)
    SELECT 'Hotel ' || n, 'City', 'Country', '+' || n FROM generate_series(1, 5) AS n;
    INSERT INTO deals (hotel_id, room_type, star_rating, price_per_night, original_price,
        discount_percent, checkin_date, checkout_date, is_available)
    SELECT 1 + n % 5, 'suite', 5, 100, 200, 50, '2027-01-01', '2027-01-02', true
    FROM generate_series(1, 12000) AS n;
    ANALYZE;
"""


async def diagnose(url: URL | str, settings: Settings, **changes: Any) -> list[Finding]:
    """Return the doctor's findings about the database."""
    fields = {"settings": settings, "memory": None, "revisions": known_revisions(), **changes}
    text = url if isinstance(url, str) else as_text(url)
    async with open_diagnostics(text, TIMEOUT) as diagnostics:
        return await DoctorService(diagnostics, make_context(**fields)).findings()


def select_findings(findings: Sequence[Finding], check: str, *severities: str) -> list[Finding]:
    """Return the findings of a check with the given severities, by default all but "fine"."""
    wanted = severities or ("problem", "warning", "unknown")
    return [one for one in findings if one.check == check and one.severity in wanted]


async def connect(url: URL) -> Connection:
    return await asyncpg.connect(dsn(url))


async def execute_script(url: URL, script: str) -> None:
    """Run statements on a connection of their own, so that their statistics are there at once.

    A statement that allows no transaction stands on a line of its own that ends with a semicolon.
    """
    connection = await connect(url)
    try:
        # Otherwise PostgreSQL publishes the statistics of a session later.
        for statement in script.split(";\n"):
            if statement.strip():
                await connection.execute(statement)
        await connection.execute("SELECT pg_stat_force_next_flush()")
    finally:
        await connection.close()
