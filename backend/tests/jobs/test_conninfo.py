"""The conversion of the database's URL for psycopg, the driver of the queue."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from app.jobs.conninfo import conninfo

pytestmark = pytest.mark.unit

HANDLED = {"application_name", "connect_timeout"}


def parse_conninfo(url: str) -> dict[str, str]:
    found = {name: str(value) for name, value in conninfo_to_dict(conninfo(url, "us")).items()}
    assert found["application_name"] == "us"
    return {
        name: value
        for name, value in found.items()
        if name not in HANDLED and not name.startswith("keepalives")
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql+asyncpg://deals@/deals?host=/run/my%20data&port=5433",
            {"user": "deals", "dbname": "deals", "host": "/run/my data", "port": "5433"},
        ),
        (
            "postgresql+asyncpg://u:p%40ss%20%27%5C%3A%2F%25%3F@db:5432/my%20deals",
            {
                "user": "u",
                "password": "p@ss '\\:/%?",
                "host": "db",
                "port": "5432",
                "dbname": "my deals",
            },
        ),
        (
            "postgresql+asyncpg://u@db/deals?ssl=verify-full&target_session_attrs=read-write",
            {
                "user": "u",
                "host": "db",
                "dbname": "deals",
                "sslmode": "verify-full",
                "target_session_attrs": "read-write",
            },
        ),
        (
            "postgresql+asyncpg://u@/deals?host=one:5432&host=two:5433",
            {"user": "u", "dbname": "deals", "host": "one,two", "port": "5432,5433"},
        ),
        (
            "postgresql+asyncpg://u@/deals?host=one,two&port=5432,5433",
            {"user": "u", "dbname": "deals", "host": "one,two", "port": "5432,5433"},
        ),
        (
            # libpq does not know asyncpg's tuning parameters.
            "postgresql+asyncpg://u@[::1]/deals?prepared_statement_cache_size=0&timeout=3",
            {"user": "u", "host": "::1", "dbname": "deals"},
        ),
        ("postgresql+asyncpg://db", {"host": "db"}),
    ],
    ids=["socket", "password", "TLS", "hosts", "hosts in one", "asyncpg's own", "hardly anything"],
)
def test_conninfo_keeps_meaning_of_database_url(url: str, expected: dict[str, str]) -> None:
    assert parse_conninfo(url) == expected
