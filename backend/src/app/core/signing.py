"""The key that signs pagination cursors."""

import os
import secrets
from pathlib import Path

from app.core.config import Settings
from app.core.errors import ConfigurationError

_KEY_BYTES = 32


def signing_key(settings: Settings) -> bytes:
    """Return the configured key or, in development, a generated key that is kept in DATA_DIR.

    Raises:
        ConfigurationError: production has no key, or the key cannot be written to DATA_DIR.
    """
    if settings.signing_key is not None:
        return settings.signing_key.get_secret_value().encode()
    if settings.app_env == "production":
        raise ConfigurationError(
            "wrong settings: SIGNING_KEY: must be set in production, to the same secret everywhere"
        )
    path = settings.data_dir / "signing.key"
    try:
        return _kept(path)
    except OSError as error:
        raise ConfigurationError(f"cannot keep a signing key: {path}: {error.strerror}") from error


def _kept(path: Path) -> bytes:
    """Return the key stored in the file `path`. If the file is missing, create it with a new key.

    `os.link` never replaces a file, so processes that start together all read the same key.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        made.touch(mode=0o600)
        made.write_bytes(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(made, path)
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return path.read_bytes()
