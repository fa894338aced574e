"""What `mise run python` starts: Python with `pd` and `db`, an engine on the service's database.

    mise run python                   a prompt
    mise run python < script.py       a script on stdin; what an expression yields is printed
    mise run python -- -c 'CODE'      a line of it

Nothing is migrated here: a notebook may want to fill the schema's first revision.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import IPython
import pandas as pd
from sqlalchemy import Engine, create_engine, inspect, make_url
from sqlalchemy.exc import OperationalError

from app.core.config import load_settings
from app.core.errors import DealsError, ServiceUnavailableError
from app.db.provisioning import provision_database

BANNER = "pd is pandas, db an SQLAlchemy engine: pd.read_sql('SELECT * FROM hotels', db)"


@contextmanager
def engine_on(url: str) -> Iterator[Engine]:
    """A synchronous engine on the database that the service reaches by `url`.

    Over psycopg2, which writes values into the statement as untyped literals: PostgreSQL then reads
    the text columns of a DataFrame as the dates and timestamps that a table's columns want. The
    typed parameters of psycopg 3 and asyncpg fail there ("column is of type date but expression is
    of type character varying").
    """
    parts = make_url(url)
    # asyncpg and libpq have different names for the same setting.
    query = {{"ssl": "sslmode"}.get(name, name): value for name, value in parts.query.items()}
    engine = create_engine(parts.set(drivername="postgresql+psycopg2", query=query))
    try:
        yield engine
    finally:
        engine.dispose()


def look_at(db: Engine) -> None:
    """Say what an empty database is waiting for.

    Raises:
        ServiceUnavailableError: there is no database to look at.
    """
    try:
        empty = not inspect(db).has_table("alembic_version")
    except OperationalError as error:
        cause = " ".join(str(error.orig).split())
        raise ServiceUnavailableError(f"the database is not available: {cause}") from error
    if empty:
        say("the database is empty: `mise run db:migrate` makes its tables")


def run_source(source: str, name: str, namespace: dict[str, Any]) -> None:
    """Statement by statement as at a prompt, but it ends with the first error, as a script does."""
    for statement in ast.parse(source, name).body:
        exec(compile(ast.Interactive([statement]), name, "single"), namespace)  # noqa: S102 - a prompt


def use(db: Engine, code: str | None) -> None:
    """Run the code or what stdin holds, or prompt when a person sits there."""
    namespace = {"__name__": "__main__", "pd": pd, "db": db}
    if code is not None:
        run_source(code, "<string>", namespace)
    elif sys.stdin.isatty():
        say(BANNER)
        IPython.start_ipython(argv=["--no-banner"], user_ns=namespace)
    else:
        run_source(sys.stdin.read(), "<stdin>", namespace)


def main() -> None:
    """Keep the database for as long as the prompt or the script lasts."""
    parser = argparse.ArgumentParser(prog="mise run python")
    parser.add_argument("-c", dest="code", metavar="CODE", help="run this instead of a prompt")
    code: str | None = parser.parse_args().code
    try:
        with provision_database(load_settings()) as urls, engine_on(urls.direct) as db:
            look_at(db)
            use(db, code)
    except DealsError as error:
        sys.exit(str(error))


def say(line: str) -> None:
    """To the person, out of the way of what a script prints."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
