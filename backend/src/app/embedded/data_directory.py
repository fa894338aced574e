"""The embedded PostgreSQL's folders and their access rules.

This module never changes the permissions of DATA_DIR's parent folders. Clients reach the server
only through a socket, in a folder that is private to the owner of DATA_DIR. See
docs/adr/0001-embedded-postgresql.md.
"""

import fcntl
import os
import pwd
import re
import stat
import tempfile
from pathlib import Path

from app.core.errors import EmbeddedPostgresError
from app.embedded import supervisor

ROLE = "deals"
PORT = 5432
LOG_FILE = Path("log", "postgresql.log")
INSTEAD = "or set DATABASE_URL"

_SOCKET_PATH_BYTES = 107
# Paths without characters that are special in drivers, URLs or lists of socket folders.
_PLAIN_PATH = re.compile(r"[\w/. +=@~-]+")
_LOG_KEPT_BYTES = 10 * 1024 * 1024
_OWN_ENTRIES = re.compile(r"lost\+found|postgres|uploads|signing\.key.*|demo-.*|deals-.*")


def open_home(data_dir: Path) -> Path:
    """Create PostgreSQL's private folder in DATA_DIR if it is missing, and return its path."""
    root = data_dir.expanduser().resolve()
    if any(ord(character) < ord(" ") for character in str(root)):
        raise EmbeddedPostgresError(f"DATA_DIR {str(root)!r} has a control character in its name")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = root.stat()
    if os.geteuid() not in {0, status.st_uid}:
        raise EmbeddedPostgresError(
            f"DATA_DIR {root} belongs to {user_name(status.st_uid)}: run as that user, "
            f"choose another DATA_DIR {INSTEAD}"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        _refuse_common_folder(root, status.st_mode)
        root.chmod(0o700)
    home = root / "postgres"
    for folder in (home, home / "run", home / "log"):
        _make_private(folder, status.st_uid)
    for name in (supervisor.USERS_LOCK, supervisor.SERVER_LOCK, supervisor.SUPERVISOR_LOCK):
        os.close(open_lock(home / name))
    return home


def _refuse_common_folder(root: Path, mode: int) -> None:
    """Refuse a shared folder such as /tmp, /var or a home folder: DATA_DIR becomes private."""
    common = mode & stat.S_ISVTX or root in {Path("/"), Path.home()}
    if root.parent == Path("/"):  # accept a mounted volume, refuse a system folder
        common = common or any(not _OWN_ENTRIES.fullmatch(entry.name) for entry in root.iterdir())
    if common:
        raise EmbeddedPostgresError(f"DATA_DIR {root} is shared: choose a folder of its own")


def _make_private(folder: Path, owner: int) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0 and folder.lstat().st_uid != owner:
        os.chown(folder, owner, -1, follow_symlinks=False)
    if not supervisor.private_folder_of(owner, folder):
        folder.chmod(0o700)


def open_lock(path: Path) -> int:
    """Open a lock file. If this process is root, give the file to the owner of its folder."""
    descriptor = supervisor.open_lock(path)
    owner = path.parent.stat().st_uid
    if os.geteuid() == 0 and os.fstat(descriptor).st_uid != owner:
        os.fchown(descriptor, owner, -1)
    return descriptor


def user_name(uid: int) -> str:
    """Return the user name of `uid`, or `uid` as text if the system has no name for it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def data_version(home: Path, wanted: int) -> int:
    """Return the major version that created the data, or `wanted` if no data exists."""
    data = home / supervisor.DATA
    try:
        return int((data / "PG_VERSION").read_text().strip())
    except FileNotFoundError:
        if data.is_dir() and any(data.iterdir()):
            raise EmbeddedPostgresError(
                f"{data} is not a PostgreSQL data folder: move it away {INSTEAD}"
            ) from None
        return wanted
    except PermissionError:
        raise EmbeddedPostgresError(
            f"{data} belongs to {user_name(data.stat().st_uid)}: run as that user {INSTEAD}"
        ) from None
    except ValueError:
        raise EmbeddedPostgresError(f"{data}/PG_VERSION holds no version: restore it") from None


def write_access_rules(home: Path) -> None:
    """Write the files that let only root and the owner of DATA_DIR log in (peer authentication)."""
    owner = home.stat().st_uid
    names = sorted({user_name(owner), user_name(0)})
    quoted = ('"' + name.replace('"', '""') + '"' for name in names)
    rules = {
        "hba.conf": f"local all all peer map={ROLE}\n",
        "ident.conf": "".join(f"{ROLE} {name} {ROLE}\n" for name in quoted),
    }
    for name, text in rules.items():
        _write(home / name, text.encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically. Replace a symbolic link at its path instead of following it."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = open_lock(draft)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    draft.replace(path)


def find_socket_folder(home: Path) -> Path | None:
    """Return `run` if its path suits a socket. Otherwise return the recorded folder or None."""
    if _fits(home / "run"):
        return home / "run"
    try:
        recorded = Path(os.fsdecode((home / supervisor.SOCKET_RECORD).read_bytes()))
    except FileNotFoundError:
        return None
    return recorded if supervisor.private_folder_of(home.stat().st_uid, recorded) else None


def make_socket_folder(home: Path) -> Path:
    """Create a private folder with a short path, and record the path for other processes."""
    # Avoid XDG_RUNTIME_DIR, because the system removes this folder when the user logs out.
    for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - made private
        if _fits(Path(base, supervisor.SOCKET_PREFIX + "_" * 8)) and os.access(base, os.W_OK):
            folder = Path(tempfile.mkdtemp(prefix=supervisor.SOCKET_PREFIX, dir=base))
            _make_private(folder, home.stat().st_uid)
            _write(home / supervisor.SOCKET_RECORD, os.fsencode(folder))
            return folder
    raise EmbeddedPostgresError(f"cannot make a socket: {home} is too long, and /tmp not writable")


def _fits(folder: Path) -> bool:
    length = len(os.fsencode(folder / f".s.PGSQL.{PORT}"))
    return length <= _SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(str(folder)) is not None


def rotate_log(home: Path) -> None:
    """Rename a log of more than 10 MB to `postgresql.log.1`. No server may be running."""
    path = home / LOG_FILE
    if path.exists() and path.stat().st_size > _LOG_KEPT_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))


def open_log(home: Path) -> int:
    """Open the log in append mode, because the server and a new supervisor share the file."""
    descriptor = open_lock(home / LOG_FILE)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


def is_dying(pid: int) -> bool:
    """Return whether a process has ended or freed its memory. If /proc is missing, return False."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except ProcessLookupError:
        return True
    except OSError:
        return Path(f"/proc/{os.getpid()}").exists()


def server_is_alive(home: Path) -> bool:
    """Return whether a server process is alive. Each server process holds `server.lock`."""
    descriptor = open_lock(home / supervisor.SERVER_LOCK)
    try:
        return not supervisor.try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
