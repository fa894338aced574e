"""Retries of transactions that PostgreSQL aborts because of a conflict with another one."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from tests.routers.bodies import HOTEL
from tests.support.waiting import wait_for

from app.db.session import Database
from app.db.unit_of_work import ATTEMPTS

pytestmark = pytest.mark.api


# A sequence counts attempts, because a rollback does not undo it.
CREATE_FAILING_FUNCTION = """
    CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('stumbles') <= {times} THEN
            RAISE EXCEPTION 'not this time' USING ERRCODE = '{code}';
        END IF;
        RETURN NULL;
    END $$
"""


async def fail_hotel_writes(database: Database, times: int, code: str, *, at_commit: bool) -> None:
    """Make the next writes of hotels fail with this SQLSTATE."""
    timing = "DEFERRABLE INITIALLY " + ("DEFERRED" if at_commit else "IMMEDIATE")
    async with database.uow.begin() as session:
        await session.execute(text("CREATE SEQUENCE stumbles"))
        await session.execute(text(CREATE_FAILING_FUNCTION.format(times=times, code=code)))
        await session.execute(
            text(
                "CREATE CONSTRAINT TRIGGER stumble AFTER INSERT OR UPDATE OR DELETE ON hotels"
                f" {timing} FOR EACH ROW EXECUTE FUNCTION stumble()"
            )
        )


async def fetch_number(database: Database, query: str) -> int:
    async with database.uow.begin() as session:
        number: int | None = await session.scalar(text(query))
    return number or 0


@pytest.mark.parametrize("at_commit", [False, True], ids=["at the statement", "at the commit"])
@pytest.mark.parametrize("code", ["40001", "40P01"], ids=["serialization failure", "deadlock"])
async def test_retry_transaction_conflict_returns_201(
    api: httpx.AsyncClient, database: Database, code: str, *, at_commit: bool
) -> None:
    await fail_hotel_writes(database, ATTEMPTS - 1, code, at_commit=at_commit)

    with capture_logs() as lines:
        made = await api.post("/hotels", json=HOTEL, headers={"Idempotency-Key": "k"})

    assert made.status_code == 201
    assert await fetch_number(database, "SELECT count(*) FROM hotels") == 1
    assert await fetch_number(database, "SELECT last_value FROM stumbles") == ATTEMPTS
    # The log line of the request counts every attempt.
    [line] = [line for line in lines if line["event"] == "request"]
    assert line["sql_statements"] == (3 * ATTEMPTS if at_commit else 2 * ATTEMPTS + 1)


@pytest.mark.parametrize("at_commit", [False, True], ids=["at the statement", "at the commit"])
async def test_retry_attempts_exhausted_returns_409(
    api: httpx.AsyncClient, database: Database, *, at_commit: bool
) -> None:
    await fail_hotel_writes(database, 1000, "40001", at_commit=at_commit)

    refused = await api.post("/hotels", json=HOTEL)

    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "CONFLICT"
    assert await fetch_number(database, "SELECT last_value FROM stumbles") == ATTEMPTS
    assert await fetch_number(database, "SELECT count(*) FROM hotels") == 0


async def test_retry_service_error_is_not_repeated(
    api: httpx.AsyncClient, database: Database
) -> None:
    """A stale `If-Match` and a conflict of names are errors for the client to handle."""
    made = await api.post("/hotels", json=HOTEL)
    await fail_hotel_writes(database, 0, "40001", at_commit=False)

    clash = await api.post("/hotels", json=HOTEL)
    stale = await api.patch(
        made.headers["location"], json={"name": "N"}, headers={"If-Match": '"9.x"'}
    )

    assert (clash.status_code, stale.status_code) == (409, 412)
    assert await fetch_number(database, "SELECT CAST(is_called AS int) FROM stumbles") == 0


async def test_retry_real_deadlock_is_resolved(api: httpx.AsyncClient, database: Database) -> None:
    """A deadlock aborts the request's transaction, and the retry succeeds.

    The request holds the hotel that it has inserted, and waits for a phone that another transaction
    holds. The other transaction waits for the request's hotel.
    """
    other = {**HOTEL, "name": "Other", "phone": "+49-30-2"}
    async with database.uow.begin() as session:
        await insert_hotel(session, HOTEL)
        # One request writes two rows. A trigger changes the second one in the opposite order.
        await session.execute(text(CREATE_SECOND_UPDATE))
        await session.execute(
            text(
                "CREATE TRIGGER second AFTER INSERT ON hotels FOR EACH ROW"
                " EXECUTE FUNCTION second()"
            )
        )
    async with database.uow.begin() as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        await session.execute(text("UPDATE hotels SET name = 'Held' WHERE phone = '+49-30-1'"))
        # PostgreSQL aborts the transaction that detects the deadlock. This one must not detect it.
        await session.execute(text("SET LOCAL deadlock_timeout = '1h'"))
        async with database.uow.begin() as gate:
            await gate.execute(text("SELECT pg_advisory_xact_lock(1)"))
            request = asyncio.create_task(api.post("/hotels", json=other))
            await wait_for_lock_waits(database, 1)
            # The same phone: the statement waits until the request's transaction ends.
            ours = asyncio.create_task(
                insert_hotel(session, {**other, "name": "First", "country": "Italy"})
            )
            await wait_for_lock_waits(database, 2)
        await ours

    answer = await request

    # The request was aborted and retried. The retry found the phone taken, a conflict.
    assert answer.status_code == 409
    assert answer.json()["error"]["message"] == "Another hotel has this phone"


# The advisory lock belongs to the test. It opens when the other transaction waits. PostgreSQL
# checks for a deadlock once in each wait, after the timeout.
CREATE_SECOND_UPDATE = """
    CREATE FUNCTION second() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(1);
        PERFORM set_config('deadlock_timeout', '10ms', true);
        UPDATE hotels SET country = 'Spain' WHERE phone = '+49-30-1';
        RETURN NULL;
    END $$
"""


async def insert_hotel(session: Any, hotel: dict[str, str]) -> None:
    await session.execute(
        text(
            "INSERT INTO hotels (name, city, country, phone)"
            " VALUES (:name, :city, :country, :phone)"
        ),
        hotel,
    )


async def wait_for_lock_waits(database: Database, count: int) -> None:
    """Wait until so many statements of this database wait for locks."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    async def have_lock_waits() -> bool:
        return await fetch_number(database, query) >= count

    await wait_for(have_lock_waits, f"{count} statements wait for locks")
