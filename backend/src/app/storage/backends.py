"""The two kinds of places, and how each is opened."""

import asyncio
from datetime import timedelta
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from app.core.errors import ConfigurationError


class Folder:
    """A folder, private to its owner, that is made when it is first needed.

    A service that takes no uploads needs no place to write to, as in a read-only container.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    async def store(self) -> LocalStore:
        """The opened folder.

        Raises:
            OSError: it cannot be made.
        """
        return await asyncio.to_thread(self._opened)

    def _opened(self) -> LocalStore:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        return LocalStore(self.path)


class Bucket:
    """A bucket, or a prefix in one; credentials and region come from the `AWS_` variables.

    Raises:
        ConfigurationError: the URL or one of the variables cannot be used.
    """

    def __init__(self, url: str, endpoint: str | None) -> None:
        try:
            self._store = S3Store.from_url(
                url,
                config={} if endpoint is None else {"endpoint": endpoint},
                client_options={
                    "connect_timeout": timedelta(seconds=3),
                    # A whole file may take long; a peer that says nothing may not.
                    "read_timeout": timedelta(seconds=30),
                    "timeout": timedelta(hours=1),
                    # Whether there is TLS is said by the endpoint's own scheme.
                    "allow_http": True,
                },
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
            )
        except (BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigurationError(f"wrong settings: UPLOADS_URL: {reason}") from error

    async def store(self) -> S3Store:
        """The bucket; nothing is sent yet."""
        return self._store
