"""From what the database driver raises to what the service says."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.errors import AppError, ConflictError, InvalidInputError, ServiceUnavailableError

logger = logging.getLogger(__name__)

# SQLSTATE classes and codes (PostgreSQL documentation, appendix A) after which the same request may
# succeed: connection exceptions, insufficient resources, operator intervention, system errors,
# a standby that cannot write, and a plan that a migration has just made invalid.
_UNAVAILABLE = ("08", "53", "57", "58", "25006", "0A000")
# Serialization failure, deadlock detected, lock not available.
_RACES = ("40001", "40P01", "55P03")
# Values the schemas let through but the column cannot hold; a client's fault, never ours.
_DATA_EXCEPTIONS = ("22",)


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn a failure of the database inside the block into an `AppError`.

    SQL and its parameters stay in the log: the client learns what it can act upon.
    """
    try:
        yield
    except DBAPIError as error:
        raise _translated(error) from error
    except (PoolTimeoutError, OSError, TimeoutError) as error:
        logger.warning("database unavailable: %s", type(error).__name__)
        raise ServiceUnavailableError from error


def _translated(error: DBAPIError) -> Exception:
    code = str(getattr(error.orig, "sqlstate", None) or "")
    answer: AppError | None = None
    if (
        error.connection_invalidated
        or isinstance(error, InterfaceError)
        or code.startswith(_UNAVAILABLE)
    ):
        answer = ServiceUnavailableError()
    elif code in _RACES:
        answer = ConflictError("Another request changed the same data, try again")
    elif code.startswith(_DATA_EXCEPTIONS):
        answer = InvalidInputError("A value is outside what can be stored")
    if isinstance(answer, ServiceUnavailableError):
        logger.warning("database unavailable: %s %s", type(error.orig).__name__, code)
    return answer or error
