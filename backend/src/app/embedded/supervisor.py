"""The supervisor process of the embedded PostgreSQL, which outlives the process that starts it.

It starts `postgres`, restarts it when it dies while processes use it, and stops it when none does.
The kernel counts the users: each one holds a shared lock on `users.lock`, and the supervisor waits
for the exclusive lock. It gets that lock when the last user has ended, even by `kill -9`. The
kernel also tells whether a server is alive: `postgres` and all its children inherit a lock on
`server.lock`, so the supervisor never relies on a process id alone.

`app.embedded.server` runs this file as a script with `python -I -S` and only the standard library,
so that it starts in milliseconds and no package of the service can break it.
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
    """Open a lock file. Refuse a symbolic link, because root may work in another user's folder."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int, operation: int) -> bool:
    """Return whether the lock was acquired, without waiting."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def private_folder_of(owner: int, folder: Path) -> bool:
    """Return whether `folder` is a folder of `owner` without access for other users."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return private and status.st_uid == owner


def write_state(descriptor: int, state: str) -> None:
    """Overwrite the state in place, which needs no new block and works on a full disk."""
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, f"{state:<{STATE_BYTES - 1}}\n".encode(), 0)


class Supervisor:
    """A supervisor of the PostgreSQL in one folder. Without a command it stops a running server."""

    def __init__(self, lock: int, home: Path, command: list[str]) -> None:
        self._lock = lock
        self._home = home
        self._data = home / DATA
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._stop_deadline = 0.0

    def run(self) -> int:
        """Serve until the last user leaves (0) or PostgreSQL cannot be kept running (1)."""
        self._listen()
        server = open_lock(self._home / SERVER_LOCK)
        was_ready = not try_lock(server, fcntl.LOCK_EX)
        if was_ready and not self._stopping:
            self._log("taking over a server whose supervisor is gone")
            self._announce(RUNNING)
        failures = 0
        while True:
            fcntl.flock(server, fcntl.LOCK_EX)  # granted when all processes of a server have ended
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
        # Released before users.lock, which the exit releases: a process that finds users.lock free
        # must find the supervisor's lock free.
        os.close(self._lock)
        return 0 if self._stopping else 1

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_alarm)
        # An empty handler, because PostgreSQL would inherit SIG_IGN.
        signal.signal(signal.SIGHUP, lambda *_: None)
        self._announce(STARTING)
        if not self._command:
            self._on_stop()
            return
        threading.Thread(target=self._wait_for_no_users, daemon=True).start()

    def _wait_for_no_users(self) -> None:
        users = open_lock(self._home / USERS_LOCK)
        fcntl.flock(users, fcntl.LOCK_EX)  # kept until exit, so that new users wait
        os.kill(os.getpid(), signal.SIGTERM)

    def _on_stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        if not self._stopping:
            self._stopping = True
            self._stop_deadline = time.monotonic() + _FAST_SHUTDOWN_LIMIT
            self._announce(STOPPING)
        self._signal_server(signal.SIGINT)
        # Repeat the signal, because a server in its first milliseconds can miss it.
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
        """Start the server, which inherits the lock, and return whether it became ready."""
        if self._process is not None:
            self._log(f"PostgreSQL died (exit status {self._process.returncode}); restarting it")
            self._announce(STARTING)
        self._drop_stale_files()
        process = subprocess.Popen(  # noqa: S603 - the command is ours, made by app.embedded.data_directory
            self._command, stdin=subprocess.DEVNULL, pass_fds=(server,)
        )
        self._process = process
        os.close(server)
        if self._stopping:  # the request to stop came before there was a process to signal
            self._signal_server(signal.SIGINT)
        while process.poll() is None and not self._stopping:
            if self._recorded_pid() == process.pid and self._recorded_status() == "ready":
                # Users rely on the announced state, so both sides agree that the server was ready.
                self._announce(RUNNING)
                return True
            time.sleep(_POLL)
        return False

    def _announce(self, state: str) -> None:
        write_state(self._lock, f"{os.getpid()} {state}")
        if self._stopping:  # the signal may have arrived just before the write above
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
        """Return whether the process may be a server of this folder, by its working folder."""
        if not Path("/proc/self").exists():
            return True
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self._data)
        except FileNotFoundError:
            return False
        except OSError:  # access denied, so the process may be one
            return True

    def _drop_stale_files(self) -> None:
        """Remove the files of a crashed server, which would keep PostgreSQL from starting.

        The recorded process id may now belong to another program or to a zombie. The files of a
        live server, such as one started by hand, are kept, and PostgreSQL reports that it exists.
        """
        pid = self._recorded_pid()
        if pid and self._works_in_data(pid):
            return
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for folder in filter(None, (self._home / "run", self._temporary_socket_folder())):
            for leftover in folder.glob(".s.PGSQL.*"):
                leftover.unlink(missing_ok=True)

    def _temporary_socket_folder(self) -> Path | None:
        """Return the recorded socket folder of a long data path, if it exists and is private."""
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
        with contextlib.suppress(OSError):  # a full disk must not end the supervision
            os.write(2, f"{now} [{os.getpid()}] SUPERVISOR:  {message}\n".encode())


def main(arguments: list[str]) -> int:
    """Fork and end the parent, so that no process must reap the supervisor, then supervise."""
    lock, home, *command = arguments
    os.set_inheritable(int(lock), False)  # noqa: FBT003 - the standard library's signature
    if os.fork():
        return 0
    return Supervisor(int(lock), Path(home), command).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
