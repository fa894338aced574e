"""Run Python with `pd` (pandas) and `db`, an engine on the service's database.

    mise run python                   open a prompt
    mise run python < script.py       run a script from stdin, and print the values of expressions
    mise run python -- -c 'CODE'      run a line of code

The script does not migrate the database, because a notebook may need the schema's first revision.
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
    """Yield a synchronous engine on the database at the service's `url`.

    The engine uses psycopg2, which writes values into the statement as untyped literals. PostgreSQL
    converts these to the types of the columns, so a DataFrame's texts can fill date and timestamp
    columns. The typed parameters of psycopg 3 and asyncpg fail there ("column is of type date but
    expression is of type character varying").
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
    """Print a hint if the database has no tables yet.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    try:
        empty = not inspect(db).has_table("alembic_version")
    except OperationalError as error:
        cause = " ".join(str(error.orig).split())
        raise ServiceUnavailableError(f"the database is not available: {cause}") from error
    if empty:
        say("the database is empty: `mise run db:migrate` creates its tables")


def run_source(source: str, name: str, namespace: dict[str, Any]) -> None:
    """Run statements one by one and print their values, as a prompt does. Stop at an error."""
    for statement in ast.parse(source, name).body:
        exec(compile(ast.Interactive([statement]), name, "single"), namespace)  # noqa: S102 - a prompt


def use(db: Engine, code: str | None) -> None:
    """Run the code or the script on stdin. Open a prompt if stdin is a terminal."""
    namespace = {"__name__": "__main__", "pd": pd, "db": db}
    if code is not None:
        run_source(code, "<string>", namespace)
    elif sys.stdin.isatty():
        say(BANNER)
        IPython.start_ipython(argv=["--no-banner"], user_ns=namespace)
    else:
        run_source(sys.stdin.read(), "<stdin>", namespace)


def main() -> None:
    """Provide the database and run the prompt or the script."""
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
    """Write a line to stderr, apart from the script's output."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
