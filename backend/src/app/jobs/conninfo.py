"""Conversion of the database URL to a connection string for the job queue's driver, psycopg."""

from psycopg.conninfo import make_conninfo
from sqlalchemy import make_url

# libpq's parameter names, by the names that asyncpg accepts in URLs.
_PARAMETERS = {
    "host": "host",
    "port": "port",
    "ssl": "sslmode",
    "passfile": "passfile",
    "target_session_attrs": "target_session_attrs",
}


def conninfo(url: str, application_name: str) -> str:
    """Convert a SQLAlchemy URL for asyncpg to a libpq connection string.

    URL parameters that only asyncpg supports are dropped.
    """
    parsed = make_url(url)
    parameters = {
        theirs: ",".join(value) if isinstance(value, tuple) else value
        for ours, theirs in _PARAMETERS.items()
        if (value := parsed.query.get(ours))
    }
    parameters |= _hosts(parameters.get("host", ""))
    given = {
        "host": parsed.host,
        "port": parsed.port,
        "user": parsed.username,
        "password": parsed.password,
        "dbname": parsed.database,
        **parameters,
    }
    return make_conninfo(
        "",
        application_name=application_name,
        # Detect a dead connection within half a minute. The kernel's default is two hours.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        connect_timeout=5,
        **{name: value for name, value in given.items() if value is not None},
    )


def _hosts(hosts: str) -> dict[str, str]:
    """Convert SQLAlchemy's list of `HOST:PORT` pairs to libpq's separate host and port lists."""
    found = [host.rpartition(":") for host in hosts.split(",")]
    if any(not colon or not port.isdigit() for _, colon, port in found):
        return {}
    return {
        "host": ",".join(host for host, _, _ in found),
        "port": ",".join(port for _, _, port in found),
    }
