"""The supervisor process of the embedded PostgreSQL. It outlives the process that starts it.

The supervisor starts `postgres`, restarts it after a crash, and stops it when the last user ends.
A user is a process that holds a shared lock on `users.lock`. The supervisor waits for the exclusive
lock. The kernel grants this lock when all users have ended, even by `kill -9`. `postgres` and its
children inherit a lock on `server.lock`. This lock shows whether a server process is alive, so the
supervisor never relies on a process id alone.

This file runs as a script with `python -I -S` and imports only the standard library. Therefore the
supervisor starts in milliseconds, and no installed package can break it.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

USERS_LOCK = "users.lock"
SERVER_LOCK = "server.lock"
SUPERVISOR_LOCK = "supervisor.lock"
SOCKET_RECORD = "socket-folder"
SOCKET_PREFIX = "hotel-deals-"
DATA = "data"
STATE_BYTES = 32
STARTING, RUNNING, STOPPING, FAILED = "starting", "running", "stopping", "failed"

_POLL = 0.01
_STOP_SIGNAL_EVERY = 0.2
_FAST_SHUTDOWN_LIMIT = 60.0
_FAILED_RESTARTS_LIMIT = 5
_FIRST_BACKOFF = 0.2


def open_lock(path: Path) -> int:
    """Open a lock file. Refuse a symbolic link, because another user may have put it there."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int, operation: int) -> bool:
    """Try to lock a file without waiting, and return whether the lock was acquired."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def private_folder_of(owner: int, folder: Path) -> bool:
    """Return whether `folder` is a folder that `owner` owns and other users cannot access."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return private and status.st_uid == owner


def write_state(descriptor: int, state: str) -> None:
    """Overwrite the state in a lock file in place, so that the write succeeds on a full disk."""
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, f"{state:<{STATE_BYTES - 1}}\n".encode(), 0)


class Supervisor:
    """The supervisor of the server in one folder. An empty `command` only stops the server."""

    def __init__(self, lock: int, home: Path, command: list[str]) -> None:
        self._lock = lock
        self._home = home
        self._data = home / DATA
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._stop_deadline = 0.0

    def run(self) -> int:
        """Supervise the server. Return 0 after a stop, or 1 if PostgreSQL fails to start."""
        self._listen()
        server = open_lock(self._home / SERVER_LOCK)
        was_ready = not try_lock(server, fcntl.LOCK_EX)
        if was_ready and not self._stopping:
            self._log("taking over a server whose supervisor is gone")
            self._announce(RUNNING)
        failures = 0
        while True:
            # Wait until all server processes have ended: they share this lock.
            fcntl.flock(server, fcntl.LOCK_EX)
            if self._process is not None:
                self._process.wait()
            if self._stopping:
                break
            if failures >= (_FAILED_RESTARTS_LIMIT if was_ready else 1):
                self._log(f"PostgreSQL did not start {failures} times in a row; giving up")
                self._announce(FAILED)
                break
            self._back_off(failures)
            if self._stopping:
                break
            ready = self._start_server(server)
            was_ready = was_ready or ready
            failures = 0 if ready else failures + 1
            server = open_lock(self._home / SERVER_LOCK)
        self._remove_socket_folder()
        # Release supervisor.lock before the exit releases users.lock, because a process that gets
        # users.lock expects supervisor.lock to be free.
        os.close(self._lock)
        return 0 if self._stopping else 1

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_alarm)
        # Ignore SIGHUP with an empty handler, because PostgreSQL would inherit SIG_IGN.
        signal.signal(signal.SIGHUP, lambda *_: None)
        self._announce(STARTING)
        if not self._command:
            self._on_stop()
            return
        threading.Thread(target=self._wait_for_no_users, daemon=True).start()

    def _wait_for_no_users(self) -> None:
        users = open_lock(self._home / USERS_LOCK)
        fcntl.flock(users, fcntl.LOCK_EX)  # held until the exit, so that new users wait
        os.kill(os.getpid(), signal.SIGTERM)

    def _on_stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        if not self._stopping:
            self._stopping = True
            self._stop_deadline = time.monotonic() + _FAST_SHUTDOWN_LIMIT
            self._announce(STOPPING)
        self._signal_server(signal.SIGINT)
        # Repeat the signal, because a server that has just started can miss one.
        signal.setitimer(signal.ITIMER_REAL, _STOP_SIGNAL_EVERY, _STOP_SIGNAL_EVERY)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        late = time.monotonic() > self._stop_deadline
        self._signal_server(signal.SIGQUIT if late else signal.SIGINT)

    def _signal_server(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
        elif (pid := self._recorded_pid()) and self._works_in_data(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _back_off(self, failures: int) -> None:
        until = time.monotonic() + (_FIRST_BACKOFF * 2**failures if failures else 0)
        while not self._stopping and time.monotonic() < until:
            time.sleep(_POLL)

    def _start_server(self, server: int) -> bool:
        """Start a server that inherits the lock, and return whether the server became ready."""
        if self._process is not None:
            self._log(f"PostgreSQL died (exit status {self._process.returncode}); restarting it")
            self._announce(STARTING)
        self._drop_stale_files()
        process = subprocess.Popen(  # noqa: S603 - made by app.embedded.commands
            self._command, stdin=subprocess.DEVNULL, pass_fds=(server,)
        )
        self._process = process
        os.close(server)
        if self._stopping:  # the stop signal arrived before the process existed
            self._signal_server(signal.SIGINT)
        while process.poll() is None and not self._stopping:
            if self._recorded_pid() == process.pid and self._recorded_status() == "ready":
                # Announce the state first, so that users and the caller agree on the state.
                self._announce(RUNNING)
                return True
            time.sleep(_POLL)
        return False

    def _announce(self, state: str) -> None:
        write_state(self._lock, f"{os.getpid()} {state}")
        if self._stopping:  # a stop signal may have arrived just before the write
            write_state(self._lock, f"{os.getpid()} {STOPPING}")

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text(errors="replace").splitlines()
        except OSError:
            return []

    def _recorded_pid(self) -> int:
        first = "".join(self._pid_file()[:1]).strip()
        return int(first) if first.isdecimal() else 0

    def _recorded_status(self) -> str:
        return "".join(self._pid_file()[7:8]).strip()

    def _works_in_data(self, pid: int) -> bool:
        """Return whether a process may be this server, whose working folder is the data folder."""
        if not Path("/proc/self").exists():
            return True
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self._data)
        except FileNotFoundError:
            return False
        except OSError:  # access denied, so the process may be this server
            return True

    def _drop_stale_files(self) -> None:
        """Remove a crashed server's PID file and sockets, because they block the next start.

        The recorded PID may now belong to another program or to a zombie. If it belongs to a live
        server in this data directory, for example one started by hand, keep the files. PostgreSQL
        then refuses to start, and its error names the running server.
        """
        pid = self._recorded_pid()
        if pid and self._works_in_data(pid):
            return
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for folder in filter(None, (self._home / "run", self._temporary_socket_folder())):
            for leftover in folder.glob(".s.PGSQL.*"):
                leftover.unlink(missing_ok=True)

    def _temporary_socket_folder(self) -> Path | None:
        """Return the recorded socket folder if it exists and is private, else None."""
        try:
            folder = Path(os.fsdecode((self._home / SOCKET_RECORD).read_bytes()))
            owner = self._home.stat().st_uid
        except OSError:
            return None
        ours = folder.name.startswith(SOCKET_PREFIX) and private_folder_of(owner, folder)
        return folder if ours else None

    def _remove_socket_folder(self) -> None:
        folder = self._temporary_socket_folder()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self._home / SOCKET_RECORD).unlink()

    @staticmethod
    def _log(message: str) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        with contextlib.suppress(OSError):  # a full disk must not end the supervisor
            os.write(2, f"{now} [{os.getpid()}] SUPERVISOR:  {message}\n".encode())


def main(arguments: list[str]) -> int:
    """Supervise in a forked child. The parent exits, so that init reaps the child later."""
    lock, home, *command = arguments
    os.set_inheritable(int(lock), False)  # noqa: FBT003 - the standard library's signature
    if os.fork():
        return 0
    return Supervisor(int(lock), Path(home), command).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
