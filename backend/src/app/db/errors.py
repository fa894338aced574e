"""Translation of the database driver's errors to the service's errors."""

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

# SQLSTATE classes and codes after which a retry may succeed (PostgreSQL documentation, appendix A):
# connection exceptions, insufficient resources, operator intervention, system errors, a standby
# that cannot write, a transaction that was idle or open for too long, and a cached plan that a
# migration has just invalidated.
_UNAVAILABLE = ("08", "28", "3D", "53", "57", "58", "25006", "25P03", "25P04", "0A000")
_CHECK_VIOLATION = "23514"
_LOCK_NOT_AVAILABLE = "55P03"
# Serialization failures and deadlocks, for which PostgreSQL's documentation recommends a retry.
_RACES = ("40001", "40P01")
# SQLSTATE classes of errors for values that pass validation but do not fit the column.
_DATA_EXCEPTIONS = ("22", "54")
# SQLSTATE codes of an undefined table, column or function: the schema does not match the code.
_OTHER_SCHEMA = ("42P01", "42703", "42883")


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert a database error inside the block to an `AppError`.

    The client's message contains neither SQL nor parameters. The log contains the cause.
    """
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
        raise _translated(error) from error


# The error for each constraint that a request can violate (docs/adr/0004). The foreign-key errors
# are for inserts and updates. Code that deletes a referenced row raises a different error.
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
    """Return the error for a violated constraint, or None if the constraint is unknown."""
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
        # The server rejected the value, or the driver could not encode it.
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
