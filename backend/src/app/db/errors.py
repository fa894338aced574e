"""From what the database driver raises to what the service says."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError

from app.core.errors import (
    AppError,
    ConflictError,
    ErrorDetail,
    InvalidInputError,
    NotFoundError,
    ServiceUnavailableError,
    TransactionConflictError,
)
from app.db.driver import CONNECTION_ERRORS

logger = logging.getLogger(__name__)

# SQLSTATE classes and codes (PostgreSQL documentation, appendix A) after which the same request may
# succeed: connection exceptions, insufficient resources, operator intervention, system errors,
# a standby that cannot write, a transaction that was idle or open for too long, and a plan that a
# migration has just made invalid.
_UNAVAILABLE = ("08", "28", "3D", "53", "57", "58", "25006", "25P03", "25P04", "0A000")
_CHECK_VIOLATION = "23514"
_LOCK_NOT_AVAILABLE = "55P03"
# Serialization failure, deadlock detected: PostgreSQL itself asks for the transaction once more.
_RACES = ("40001", "40P01")
# Values the schemas let through but the column cannot hold; a client's fault, never ours.
_DATA_EXCEPTIONS = ("22", "54")
# Undefined table, column, function.
_OTHER_SCHEMA = ("42P01", "42703", "42883")


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn a failure of the database inside the block into an `AppError`.

    SQL and its parameters stay in the log: the client learns what it can act upon.
    """
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
        raise _translated(error) from error


# A violated constraint, by its name, in the client's words (docs/adr/0004). A reference may also
# be violated from the other side, by removing what it refers to: whoever removes says so itself.
_CONSTRAINTS: dict[str, AppError] = {
    "uq_deals_external_id": ConflictError("Another deal has this external_id"),
    "uq_hotels_phone": ConflictError("Another hotel has this phone"),
    "uq_hotels_name_city_country": ConflictError(
        "Another hotel has this name in this city and country"
    ),
    "uq_api_keys_name": ConflictError("Another key has this name"),
    "fk_deal_categories_category_id_categories": ConflictError(
        "A category was removed at the same time, try again"
    ),
    "fk_deals_hotel_id_hotels": NotFoundError("The hotel does not exist"),
    "ck_deals_dates": InvalidInputError(
        details=[ErrorDetail("body.checkout_date", "must be after checkin_date")]
    ),
}


def _constraint_error(code: str, name: str) -> AppError | None:
    """Clashes, dangling references, and what a CHECK refuses although the schema let it pass."""
    known = _CONSTRAINTS.get(name)
    if known is not None:
        return type(known)(known.message, known.details)
    if code == _CHECK_VIOLATION and name.startswith("ck_"):
        field = name.removeprefix("ck_").partition("_")[2]
        detail = ErrorDetail(f"body.{field}", "breaks a rule of this field")
        return InvalidInputError(details=[detail])
    return None


def _translated(error: Exception) -> Exception:
    cause = error.driver_exception if isinstance(error, DBAPIError) else error
    code = str(getattr(cause, "sqlstate", None) or "")
    answer: AppError | None = None
    if isinstance(cause, asyncpg.DataError) or code.startswith(_DATA_EXCEPTIONS):
        # Found by the server, or by the driver that could not even write the value.
        answer = InvalidInputError("A value is outside what can be stored")
    elif code in _OTHER_SCHEMA:
        answer = ServiceUnavailableError("The database has another schema; run `deals migrate`")
    elif code.startswith(_UNAVAILABLE) or isinstance(cause, CONNECTION_ERRORS):
        answer = ServiceUnavailableError()
    elif code.startswith("23"):
        answer = _constraint_error(code, getattr(cause, "constraint_name", None) or "")
    elif code in _RACES:
        answer = TransactionConflictError()
    elif code == _LOCK_NOT_AVAILABLE:
        answer = ConflictError("Another request holds the same data, try again")
    if isinstance(answer, ServiceUnavailableError):
        logger.warning("database unavailable: %s %s", type(cause).__name__, code)
    return answer or error
