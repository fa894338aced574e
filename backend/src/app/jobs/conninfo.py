"""The database's URL as the job queue's driver takes it."""

from psycopg.conninfo import make_conninfo
from sqlalchemy import make_url

# What asyncpg calls them in a URL, and libpq.
_PARAMETERS = {
    "host": "host",
    "port": "port",
    "ssl": "sslmode",
    "passfile": "passfile",
    "target_session_attrs": "target_session_attrs",
}


def conninfo(url: str, application_name: str) -> str:
    """A libpq connection string for a SQLAlchemy URL of asyncpg.

    Of the URL's parameters those are taken that both drivers have; the others tune asyncpg.
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
        # Found dead within half a minute, not after the kernel's two hours.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        connect_timeout=5,
        **{name: value for name, value in given.items() if value is not None},
    )


def _hosts(hosts: str) -> dict[str, str]:
    """Hosts with ports, as SQLAlchemy documents them for asyncpg: `HOST:PORT`, several of them."""
    found = [host.rpartition(":") for host in hosts.split(",")]
    if any(not colon or not port.isdigit() for _, colon, port in found):
        return {}
    return {
        "host": ",".join(host for host, _, _ in found),
        "port": ",".join(port for _, _, port in found),
    }
