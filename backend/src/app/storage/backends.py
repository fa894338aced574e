"""The backends of the upload store: a local folder or an S3 bucket."""

import asyncio
from datetime import timedelta
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from app.core.errors import ConfigurationError


class Folder:
    """A folder that only its owner can access.

    The folder is created on first use, so that a service that receives no uploads can run in a
    read-only container.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    async def store(self) -> LocalStore:
        """Create the folder if necessary and return it as an object store.

        Raises:
            OSError: the folder cannot be created.
        """
        return await asyncio.to_thread(self._opened)

    def _opened(self) -> LocalStore:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        return LocalStore(self.path)


class Bucket:
    """An S3 bucket or a prefix in one. The `AWS_` variables give the credentials and the region.

    Raises:
        ConfigurationError: the URL or an `AWS_` variable is invalid.
    """

    def __init__(self, url: str, endpoint: str | None) -> None:
        try:
            self._store = S3Store.from_url(
                url,
                config={} if endpoint is None else {"endpoint": endpoint},
                client_options={
                    "connect_timeout": timedelta(seconds=3),
                    # A transfer may take an hour, but fails after 30 seconds without data.
                    "read_timeout": timedelta(seconds=30),
                    "timeout": timedelta(hours=1),
                    # Let the scheme of the endpoint URL decide whether TLS is used.
                    "allow_http": True,
                },
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
            )
        except (BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigurationError(f"wrong settings: UPLOADS_URL: {reason}") from error

    async def store(self) -> S3Store:
        """Return the bucket as an object store, without sending a request."""
        return self._store
