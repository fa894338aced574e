"""Conversion of storage and disk errors to the service's errors."""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from app.core.errors import AppError, StorageFullError, StorageUnavailableError

logger = logging.getLogger(__name__)

# Error numbers of a full disk, an exceeded quota, and a file too large for the file system.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# obstore raises the same class for all disk errors. Only the message contains the error number.
_NUMBER = re.compile(r"\(os error (\d+)\)")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Convert a storage error inside the block to an `AppError`.

    The details are logged. Clients see no paths, bucket names or addresses.
    """
    try:
        yield
    except (BaseError, OSError) as error:
        # Cut off the debug output that obstore appends to error messages.
        logger.warning("storage failed: %s", str(error).partition("\n\nDebug source")[0])
        raise _translated(error) from error


def _translated(error: Exception) -> AppError:
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := _NUMBER.search(str(error))):
        number = int(match[1])
    return StorageFullError() if number in _FULL else StorageUnavailableError()
