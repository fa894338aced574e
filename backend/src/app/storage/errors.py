"""From what the storage library and the disk raise to what the service says."""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from app.core.errors import AppError, StorageFullError, StorageUnavailableError

logger = logging.getLogger(__name__)

# No room on the disk, over the user's quota, over the limit of a file's size.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# The library has one error for all that a disk can say; its number is in the text alone.
_NUMBER = re.compile(r"\(os error (\d+)\)")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn a failure of the storage inside the block into an `AppError`.

    Paths, bucket and address stay in the log: the client learns what it can act upon.
    """
    try:
        yield
    except (BaseError, OSError) as error:
        # The library appends its own data structures to its message.
        logger.warning("storage failed: %s", str(error).partition("\n\nDebug source")[0])
        raise _translated(error) from error


def _translated(error: Exception) -> AppError:
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := _NUMBER.search(str(error))):
        number = int(match[1])
    return StorageFullError() if number in _FULL else StorageUnavailableError()
