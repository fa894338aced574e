"""The process that owns a running embedded PostgreSQL and outlives whoever started it.

It starts `postgres`, restarts it when it dies while somebody uses it, and stops it when nobody
does. "Somebody" is a question for the kernel: each user holds a shared lock on `users.lock` and
the supervisor waits for the exclusive one, which it gets when the last user is gone, even by
`kill -9`. "Is a server alive?" is answered the same way: `postgres` and all its children inherit
a lock on `server.lock`, so no process id is ever trusted on its own.

`app.embedded.server` runs this file as a script with `python -I -S`: standard library only, so that
it is up in milliseconds and no package of the service can break it.
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
    """A descriptor to lock; refuses a link, because root may work in somebody else's folder."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int, operation: int) -> bool:
    """Whether the flock was free just now."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def private_folder_of(owner: int, folder: Path) -> bool:
    """Whether nobody but `owner` can list, enter or replace what is in `folder`."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return private and status.st_uid == owner


def write_state(descriptor: int, state: str) -> None:
    """Overwrite in place and never truncate: that needs no new block, so a full disk is fine."""
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, f"{state:<{STATE_BYTES - 1}}\n".encode(), 0)


class Supervisor:
    """One run over the PostgreSQL of one folder; no command means: only stop what is there."""

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
            fcntl.flock(server, fcntl.LOCK_EX)  # granted when no process of a server is left
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
        # Before users.lock, which the exit releases: who sees no users must see no supervisor.
        os.close(self._lock)
        return 0 if self._stopping else 1

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_alarm)
        # A handler that does nothing, because SIG_IGN would be inherited by PostgreSQL.
        signal.signal(signal.SIGHUP, lambda *_: None)
        self._announce(STARTING)
        if not self._command:
            self._on_stop()
            return
        threading.Thread(target=self._wait_for_no_users, daemon=True).start()

    def _wait_for_no_users(self) -> None:
        users = open_lock(self._home / USERS_LOCK)
        fcntl.flock(users, fcntl.LOCK_EX)  # kept until exit: new users wait for the end
        os.kill(os.getpid(), signal.SIGTERM)

    def _on_stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        if not self._stopping:
            self._stopping = True
            self._stop_deadline = time.monotonic() + _FAST_SHUTDOWN_LIMIT
            self._announce(STOPPING)
        self._signal_server(signal.SIGINT)
        # Repeated, because a server still in its first milliseconds can miss a signal.
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
        """Start it with the held lock as its inheritance; whether it got ready for clients."""
        if self._process is not None:
            self._log(f"PostgreSQL died (exit status {self._process.returncode}); restarting it")
            self._announce(STARTING)
        self._drop_stale_files()
        process = subprocess.Popen(  # noqa: S603 - the command is ours, made by app.embedded.data_directory
            self._command, stdin=subprocess.DEVNULL, pass_fds=(server,)
        )
        self._process = process
        os.close(server)
        if self._stopping:  # asked to while there was nothing to signal yet
            self._signal_server(signal.SIGINT)
        while process.poll() is None and not self._stopping:
            if self._recorded_pid() == process.pid and self._recorded_status() == "ready":
                # Users believe this and not the server, so both know that it was ready once.
                self._announce(RUNNING)
                return True
            time.sleep(_POLL)
        return False

    def _announce(self, state: str) -> None:
        write_state(self._lock, f"{os.getpid()} {state}")
        if self._stopping:  # the signal may have come just before this overwrote it
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
        """Whether the process can be a server of this folder: those work inside it."""
        if not Path("/proc/self").exists():
            return True
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self._data)
        except FileNotFoundError:
            return False
        except OSError:  # not ours to look at, so it may be one
            return True

    def _drop_stale_files(self) -> None:
        """After a crash the recorded id can be another program's, or a zombie's where nobody reaps.

        PostgreSQL would refuse to start then. A server somebody started by hand keeps its files,
        and ours says that it exists.
        """
        pid = self._recorded_pid()
        if pid and self._works_in_data(pid):
            return
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for folder in filter(None, (self._home / "run", self._temporary_socket_folder())):
            for leftover in folder.glob(".s.PGSQL.*"):
                leftover.unlink(missing_ok=True)

    def _temporary_socket_folder(self) -> Path | None:
        """The one that a deep data folder needs, if it is there and still ours alone."""
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
    """Leave the parent at once, so that nobody has to reap the supervisor, then serve."""
    lock, home, *command = arguments
    os.set_inheritable(int(lock), False)  # noqa: FBT003 - the standard library's signature
    if os.fork():
        return 0
    return Supervisor(int(lock), Path(home), command).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
