"""The embedded PostgreSQL server, which the service uses if DATABASE_URL is unset.

All processes with the same DATA_DIR share one server. The first process starts the server. The
server stops when the last process ends, even by `kill -9`. Five file locks coordinate this:

* `users.lock`: held by every process that uses the server, as a shared lock. The exclusive lock is
  granted only if no other process uses the server.
* `start.lock`: held by the process that is starting the server.
* `leave.lock`: held by the process that is ending its use of the server.
* `supervisor.lock`: held by the supervisor, which inherits the lock from its starter.
* `server.lock`: held by PostgreSQL and its children, which inherit the lock from the supervisor.

A starting process locks start.lock and then users.lock. A leaving process locks leave.lock and then
users.lock. The supervisor locks only users.lock. This order prevents deadlocks.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from app.core.errors import EmbeddedPostgresError

if sys.platform != "win32":
    import fcntl

    from app.embedded import data_directory, supervisor
    from app.embedded.commands import Installation, environment, lets_us_in, start_failure

_POLL = 0.01
_START_LIMIT = 60.0  # seconds: the crash recovery of a busy database takes long
_START_ATTEMPTS = 5  # several, because a supervisor may be killed
_STOP_LIMIT = 90.0  # seconds: the last checkpoint on a slow disk takes long
_TURN_LIMIT = _START_LIMIT + _STOP_LIMIT
_ANNOUNCE_LIMIT = 2.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddedServer:
    """A server that runs during the `with` block of `embedded_postgres`."""

    socket_dir: Path
    version: int
    log_file: Path

    def url(self, database: str = "deals", driver: str = "asyncpg") -> str:
        """Return a database's SQLAlchemy URL, with the port to override PGPORT."""
        folder = quote(str(self.socket_dir), safe="/")
        where = f"deals@/{quote(database, safe='')}?host={folder}&port={data_directory.PORT}"
        return f"postgresql+{driver}://{where}"


@contextmanager
def embedded_postgres(
    data_dir: Path, *, version: int = 18, options: Mapping[str, str] | None = None
) -> Iterator[EmbeddedServer]:
    """Use the server in `data_dir` during the block. Start the server if it is not running.

    The call blocks until the server is ready. The server stops when its last user leaves. The
    settings in `options` apply only if this call starts the server. The major version `version`
    applies only to new data. Existing data keeps the version that created it.

    Raises:
        EmbeddedPostgresError: PostgreSQL cannot run here. The message says why and what to do.
    """
    if sys.platform == "win32":
        raise EmbeddedPostgresError(
            "the embedded PostgreSQL does not run on Windows: set DATABASE_URL"
        )
    with _one_line_errors(data_dir):
        use = _Use(data_directory.open_home(data_dir), version, dict(options or {}))
    try:
        with _one_line_errors(data_dir):
            server = use.enter()
        yield server
    finally:
        use.leave()


@contextmanager
def _one_line_errors(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or data_dir
        raise EmbeddedPostgresError(
            f"the embedded PostgreSQL cannot use {data_dir}: {error.strerror or error} ({where})"
        ) from error


class _Use:
    """One process's use of the server, with a shared lock on `users.lock` until it ends."""

    def __init__(self, home: Path, version: int, options: dict[str, str]) -> None:
        self._home = home
        self._version = version
        self._options = options
        self._share: int | None = None

    def enter(self) -> EmbeddedServer:
        with self._turn("start.lock") as turn:
            self._share = self._wait_for_lock(supervisor.USERS_LOCK, fcntl.LOCK_SH)
            self._version = data_directory.data_version(self._home, self._version)
            sockets = self._start(turn)
        return EmbeddedServer(sockets, self._version, self._home / data_directory.LOG_FILE)

    def _start(self, turn: int) -> Path:
        """Start a supervisor if none is running. Return the socket folder of the ready server."""
        log = self._home / data_directory.LOG_FILE
        deadline = time.monotonic() + _START_LIMIT
        attempts = log_start = 0
        while True:
            with self._supervision() as lock:
                if lock is not None:
                    failed = self._supervisor_state()[1] == supervisor.FAILED
                    if attempts and (failed or attempts == _START_ATTEMPTS):
                        raise EmbeddedPostgresError(start_failure(log, log_start))
                    attempts += 1
                    log_start = log.stat().st_size if log.exists() else 0
                    self._supervise(lock, turn)
            sockets = data_directory.find_socket_folder(self._home)
            if lock is None and sockets is not None and self._answers(sockets):
                return sockets
            if time.monotonic() > deadline:
                cause = "" if sockets else ": its socket folder is gone"
                raise EmbeddedPostgresError(
                    f"PostgreSQL is not ready after {_START_LIMIT:.0f} s{cause} (log: {log})"
                )
            time.sleep(_POLL)

    def _supervise(self, lock: int, turn: int | None) -> None:
        """Start a supervisor. With `turn`, prepare the data first if no server is running.

        `turn` is the descriptor of start.lock. Only the lock's holder may prepare the data.
        """
        installation = Installation.for_home(self._home, self._version)
        if turn is not None and not data_directory.server_is_alive(self._home):
            installation.take_over_data()
            installation.create_data(turn, durable=self._options.get("fsync") != "off")
            data_directory.write_access_rules(self._home)
            data_directory.rotate_log(self._home)
        sockets = data_directory.find_socket_folder(
            self._home
        ) or data_directory.make_socket_folder(self._home)
        command = installation.server_command(sockets, self._options)
        self._spawn(lock, command)

    def _spawn(self, lock: int, command: list[str]) -> None:
        """Start a supervisor that inherits supervisor.lock, so that the lock is never released."""
        supervisor.write_state(lock, "")
        script = [sys.executable, "-I", "-S", supervisor.__file__, str(lock), str(self._home)]
        log = data_directory.open_log(self._home)
        try:
            subprocess.run(  # noqa: S603 - our own interpreter, script and arguments
                [*script, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C in a terminal must not stop the server
                cwd="/",
                env=environment(),
                check=False,  # callers retry if no supervisor holds the lock
            )
        finally:
            os.close(log)

    def leave(self) -> None:
        """Release the lock on users.lock, and stop the server if no other process uses it.

        If this fails, the supervisor still stops the server once users.lock is free.
        """
        share, self._share = self._share, None
        if share is None:
            return
        try:
            with self._turn("leave.lock"):
                os.close(share)
                share = None
                if not self._see_out():
                    _logger.warning("the embedded PostgreSQL in %s is still stopping", self._home)
        except (OSError, EmbeddedPostgresError) as error:
            _logger.warning("left the embedded PostgreSQL in %s: %s", self._home, error)
        finally:
            if share is not None:
                os.close(share)

    def _see_out(self) -> bool:
        """Stop the server unless other processes use it. Return False on a timeout."""
        deadline = time.monotonic() + _STOP_LIMIT
        probe = data_directory.open_lock(self._home / supervisor.USERS_LOCK)
        try:
            while time.monotonic() < deadline:
                if supervisor.try_lock(probe, fcntl.LOCK_EX):
                    if self._stop(deadline):
                        return True
                    # Release the lock, so that the supervisor can take it and stop the server.
                    fcntl.flock(probe, fcntl.LOCK_UN)
                elif supervisor.try_lock(probe, fcntl.LOCK_SH):
                    self._keep_supervised()
                    return True
                time.sleep(_POLL)  # a supervisor that holds the lock is stopping the server
        finally:
            os.close(probe)
        return False

    def _stop(self, deadline: float) -> bool:
        """Stop the server. The caller holds users.lock exclusively. Return False on a timeout."""
        told = 0
        announced_by = time.monotonic() + _ANNOUNCE_LIMIT
        while time.monotonic() < deadline:
            with self._supervision() as lock:
                if lock is not None:
                    if not data_directory.server_is_alive(self._home):
                        return True
                    self._spawn(lock, [])
            pid = self._supervisor_state()[0]
            if lock is None and pid not in {0, told}:
                told = pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            if not told and time.monotonic() > announced_by:
                return False
            time.sleep(_POLL)
        return False

    def _keep_supervised(self) -> None:
        """Start a supervisor if none is running, because a server without one would never stop."""
        deadline = time.monotonic() + _ANNOUNCE_LIMIT
        while True:
            with self._supervision() as lock:
                if lock is not None and data_directory.server_is_alive(self._home):
                    self._supervise(lock, None)
            # The kernel frees a killed supervisor's memory before its lock. Wait for the lock.
            dying = lock is None and data_directory.is_dying(self._supervisor_state()[0])
            if not dying or time.monotonic() > deadline:
                return
            time.sleep(_POLL)

    @contextmanager
    def _turn(self, name: str) -> Iterator[int]:
        """Lock a file exclusively in the block. Unlock it even if a child keeps the file open."""
        descriptor = self._wait_for_lock(name, fcntl.LOCK_EX)
        try:
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _wait_for_lock(self, name: str, operation: int) -> int:
        descriptor = data_directory.open_lock(self._home / name)
        deadline = time.monotonic() + _TURN_LIMIT
        try:
            while not supervisor.try_lock(descriptor, operation):
                self._check_turn(deadline)
                time.sleep(_POLL)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_turn(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"another process has been starting or stopping the PostgreSQL in {self._home} "
                f"for {_TURN_LIMIT:.0f} s"
            )

    @contextmanager
    def _supervision(self) -> Iterator[int | None]:
        """Try to lock supervisor.lock. Yield its descriptor, or None if the lock is taken."""
        descriptor = data_directory.open_lock(self._home / supervisor.SUPERVISOR_LOCK)
        try:
            yield descriptor if supervisor.try_lock(descriptor, fcntl.LOCK_EX) else None
        finally:
            os.close(descriptor)

    def _supervisor_state(self) -> tuple[int, str]:
        """Read the supervisor's process id and state, or return (0, "") if none are written yet."""
        words = (self._home / supervisor.SUPERVISOR_LOCK).read_text().split()
        return (int(words[0]), words[1]) if len(words) == len(("pid", "state")) else (0, "")

    def _answers(self, sockets: Path) -> bool:
        """Return whether the supervisor reports `running` and the server accepts logins."""

        def running() -> bool:
            return self._supervisor_state()[1] == supervisor.RUNNING

        return running() and lets_us_in(sockets / f".s.PGSQL.{data_directory.PORT}") and running()
