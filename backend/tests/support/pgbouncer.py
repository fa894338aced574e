"""A real PgBouncer in transaction mode, before the tests' server."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import URL
from tests.support.databases import as_text, dsn
from tests.support.programs import require_program
from tests.support.servers import free_port
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for_sync

from app.core.config import Settings
from app.db.provisioning import DatabaseUrls

# So few server connections that clients must share them.
SHARED = 3

_CONFIGURATION = f"""
[databases]
* = {{target}}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {{port}}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {SHARED}
max_client_conn = 500
# A test's database goes with the test.
server_idle_timeout = 2
server_login_retry = 1
"""


@dataclass(frozen=True)
class PgBouncer:
    port: int
    log: Path

    def url(self, database: URL) -> URL:
        """Return the address of a database through PgBouncer."""
        return database.set(host="127.0.0.1", port=self.port, query={})

    def urls(self, database: URL) -> DatabaseUrls:
        pooled = as_text(self.url(database))
        return DatabaseUrls(pooled, pooled, as_text(database), pooled=True)

    def before(self, settings: Settings, database: URL) -> Settings:
        """Return settings of a service that reaches a database through PgBouncer."""
        return settings.model_copy(
            update={
                "database_url": SecretStr(as_text(self.url(database))),
                "direct_database_url": SecretStr(as_text(database)),
                "db_pgbouncer": True,
            }
        )


@contextmanager
def running_pgbouncer(
    server: URL, folder: Path, configuration: str | None = None
) -> Iterator[PgBouncer]:
    """Run PgBouncer on a free port, for every database of a server.

    `configuration` replaces the tests' own. `{port}` and `{target}` are filled in.
    """
    executable = require_program("pgbouncer")
    folder.mkdir()
    bouncer = PgBouncer(free_port(), folder / "log")
    file = folder / "pgbouncer.ini"
    file.write_text(
        (configuration or _CONFIGURATION).format(port=bouncer.port, target=target(server))
    )
    with bouncer.log.open("wb") as log:
        process = subprocess.Popen(
            [*_unprivileged_prefix(), executable, str(file)], stdout=log, stderr=log
        )
    try:
        _wait_until_listening(bouncer, process)
        yield bouncer
    finally:
        process.terminate()
        process.wait(TIMEOUT)


async def let_in(server: URL) -> None:
    """Let PgBouncer's user connect to an embedded server of root."""
    folder = server.query.get("host")
    if os.geteuid() != 0 or not isinstance(folder, str):
        return
    connection = await asyncpg.connect(dsn(server))
    try:
        _allow(Path(await connection.fetchval("SHOW ident_file")), "deals nobody deals\n")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


def _allow(rules: Path, line: str) -> None:
    if line not in rules.read_text():
        with rules.open("a") as file:
            file.write(line)


def target(server: URL) -> str:
    """Return the address of a server in PgBouncer's syntax."""
    where = {
        "host": server.query.get("host") or server.host,
        "port": server.query.get("port") or server.port,
        "user": server.username,
        "password": server.password,
    }
    return " ".join(f"{name}={value}" for name, value in where.items() if value)


def _unprivileged_prefix() -> list[str]:
    """Return a command prefix that drops root, as which PgBouncer refuses to run.

    An embedded server's socket is in a private folder, which the capability opens.
    """
    if os.geteuid() != 0:
        return []
    capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *capability]


def _wait_until_listening(bouncer: PgBouncer, process: "subprocess.Popen[bytes]") -> None:
    def listens_or_has_ended() -> bool:
        with socket.socket() as probe:
            listens = probe.connect_ex(("127.0.0.1", bouncer.port)) == 0
        return listens or process.poll() is not None

    wait_for_sync(listens_or_has_ended, f"pgbouncer listens, see {bouncer.log}")
    if process.poll() is not None:
        pytest.fail(f"pgbouncer does not start: {bouncer.log.read_text()}")
