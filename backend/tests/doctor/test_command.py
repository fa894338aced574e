"""`deals doctor` as its users run it: processes, exit statuses, what a script reads."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest
from pydantic import TypeAdapter
from sqlalchemy import URL
from tests.doctor.states import Connection, connect, of
from tests.environment import inherited
from tests.jobs.workers import Workers, kill, until
from tests.patience import PATIENCE, PATIENT
from tests.test_cli import DEALS, processes_of

from app.commands import doctor_report
from app.commands.doctor_report import Report
from app.db.embedded import embedded_postgres
from app.db.examining import Target
from app.db.migrations import upgrade_async
from app.services.doctor.findings import SEVERITIES, Finding

pytestmark = pytest.mark.integration

Doctor: TypeAlias = Callable[..., "asyncio.Future[subprocess.CompletedProcess[str]]"]
REPORT = TypeAdapter(Report)


def run(
    folder: Path, *arguments: str, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    given = {"DATA_DIR": str(folder / "data"), "DATABASE_URL": "", "COLUMNS": "200"}
    given |= PATIENT | variables
    return subprocess.run(
        [DEALS, "doctor", *arguments],
        env=inherited() | given,
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def doctor(database_url: str, tmp_path: Path) -> Doctor:
    """Run the command on the test's own database."""

    def examine(
        *arguments: str, **variables: str
    ) -> "asyncio.Future[subprocess.CompletedProcess[str]]":
        given = {"DATABASE_URL": database_url, **variables}
        return asyncio.ensure_future(asyncio.to_thread(run, tmp_path, *arguments, **given))

    return examine


@pytest.fixture
async def somebody(clone_url: URL) -> AsyncIterator[Connection]:
    connection = await connect(clone_url)
    await connection.execute("SET application_name = 'somebody'")
    yield connection
    await connection.close()


def report(result: subprocess.CompletedProcess[str]) -> Report:
    """What was written as JSON, if it is what is documented."""
    found = REPORT.validate_json(result.stdout, strict=False)
    assert [one.severity for one in found.findings] == sorted(
        (one.severity for one in found.findings), key=SEVERITIES.index
    )
    assert found.status == found.findings[0].severity
    assert sum(found.counts.values()) == len(found.findings)
    assert "Traceback" not in result.stderr
    return found


async def test_what_a_person_reads_and_what_a_script_reads(doctor: Doctor) -> None:
    for_people = await doctor()
    found = report(await doctor("--json"))

    # The tests' server does not wait for the disk: a problem.
    assert for_people.returncode == 1
    lines = for_people.stdout.splitlines()
    assert lines[0].startswith("problem  settings: fsync is off")
    assert "         > ALTER SYSTEM SET fsync = 'on'; SELECT pg_reload_conf();" in lines
    assert lines[-1].startswith("2 problem, ")
    assert "\x1b" not in for_people.stdout
    assert found.status == "problem"
    assert found.counts["problem"] == 2
    assert found.database.database.startswith("test_")
    assert of(found.findings, "numbers", "fine")[0].remedy == "deals verify"


async def test_a_session_is_ended_when_somebody_says_so(
    doctor: Doctor, somebody: Connection
) -> None:
    pid = str(somebody.get_server_pid())
    await somebody.execute("BEGIN; SELECT 'its last words'")

    unsaid = await doctor("--kill", pid)
    no = await doctor("--kill", pid, stdin="n\n")
    assert await somebody.fetchval("SELECT 1") == 1
    yes = await doctor("--kill", pid, stdin="y\n")

    assert unsaid.returncode == no.returncode == 1
    assert "End it?" in no.stderr
    assert yes.returncode == 0, yes.stderr
    assert "application: somebody" in yes.stdout
    assert yes.stdout.splitlines()[-1] == f"{pid} is ended; what it had not committed is undone"
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await somebody.fetchval("SELECT 1")


async def test_ending_without_being_asked_and_what_is_refused(
    doctor: Doctor, somebody: Connection, server_url: URL
) -> None:
    pid = str(somebody.get_server_pid())
    elsewhere = await connect(server_url)
    try:
        foreign = await doctor("--kill", str(elsewhere.get_server_pid()), "--yes")
        assert await elsewhere.fetchval("SELECT 1") == 1
    finally:
        await elsewhere.close()
    done = await doctor("--kill", pid, "--yes")
    gone = await doctor("--kill", pid, "--yes")

    assert foreign.returncode == gone.returncode == 3
    assert "only sessions of this one are ended here" in foreign.stderr
    assert done.returncode == 0, done.stderr
    assert gone.stderr == f"deals: there is no session {pid}; deals doctor lists them\n"


def test_no_connection_is_one_line_and_a_finding(tmp_path: Path) -> None:
    url = f"postgresql+asyncpg://deals:s3cret@/deals?host={tmp_path}"

    for_people = run(tmp_path, DATABASE_URL=url)
    for_scripts = run(tmp_path, "--json", DATABASE_URL=url)
    killing = run(tmp_path, "--kill", "1", "--yes", DATABASE_URL=url)

    assert for_people.returncode == for_scripts.returncode == killing.returncode == 3
    where = f"{tmp_path}:5432 (database deals, user deals)"
    assert for_people.stderr.startswith(f"deals: cannot connect to PostgreSQL at {where}: refused")
    assert for_people.stderr.count("\n") == 1
    assert for_people.stdout == ""
    (finding,) = report(for_scripts).findings
    assert (finding.severity, finding.evidence) == ("problem", {"kind": "refused"})
    assert "s3cret" not in for_people.stderr + for_scripts.stdout + for_scripts.stderr


@pytest.mark.slow
def test_an_embedded_database_is_looked_at_as_it_is(tmp_path: Path) -> None:
    result = run(tmp_path)

    assert result.returncode == 1
    assert result.stdout.startswith("problem  schema: the database has no schema yet\n")
    assert result.stdout.splitlines()[2] == "         > deals migrate"
    assert processes_of(tmp_path / "data") == []


@pytest.mark.slow
@pytest.mark.parametrize("version", [16, 18])
async def test_a_replica(tmp_path: Path, version: int) -> None:
    home = tmp_path / "data"
    with embedded_postgres(home, version=version) as server:
        await upgrade_async(server.url())
    data = home / "postgres" / "data"
    # A standby that gets nothing to replay is one, too.
    signal = data / "standby.signal"
    signal.touch()
    status = data.stat()
    os.chown(signal, status.st_uid, status.st_gid)

    with embedded_postgres(home, version=version) as server:
        primary = await asyncio.to_thread(run, tmp_path, "--json", DATABASE_URL=server.url())
        replica = await asyncio.to_thread(
            run,
            tmp_path,
            "--replica",
            "--json",
            DATABASE_URL="postgresql://nobody@nowhere.invalid/x",
            READ_DATABASE_URL=server.url(),
        )

    assert (primary.returncode, replica.returncode) == (1, 0), primary.stdout + replica.stderr
    assert "it is a standby: every write is answered 503" in primary.stdout
    found = report(replica).findings
    assert "it is a standby, as it is to be" in {one.title for one in found}
    assert not of(found, "schema")
    assert not [one for one in found if one.severity == "unseen"]


@pytest.mark.slow
async def test_a_worker_that_was_killed(doctor: Doctor, workers: Workers) -> None:
    worker = workers.start()

    async def says(severity: str, words: str) -> bool:
        found = report(await doctor("--json", WORKER_HEARTBEAT="1"))
        return any(words in one.title for one in of(found.findings, "workers", severity))

    await until(lambda: says("fine", "1 workers are alive"), "it is seen alive")
    kill(worker)
    await until(lambda: says("warning", "is dead, or hangs: silent for"), "it is seen dead")


@pytest.fixture
def workers(database_url: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(database_url, tmp_path)
    yield started
    started.end()


@pytest.mark.unit
def test_names_and_statements_cannot_draw_on_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nasty = "SELECT '[red]\x1b[2J\n\x07done'"
    finding = Finding("idle", "problem", nasty, {"query": nasty, nasty: 1}, nasty, nasty)

    doctor_report.print_report(Report.of(Target(("h:1",), "d", "u"), [finding]))

    shown = capsys.readouterr().out
    assert shown.count("SELECT '[red] [2J done'") == 5
    assert not {"\x1b", "\x07"} & set(shown)


async def test_it_looks_past_a_pooler(doctor: Doctor, database_url: str) -> None:
    """Of which nobody answers here; of the replica behind it there is no address at all."""
    nowhere = "postgresql://deals@127.0.0.1:1/deals"
    pooled = {
        "DB_PGBOUNCER": "true",
        "DATABASE_URL": nowhere,
        "READ_DATABASE_URL": nowhere,
        "DIRECT_DATABASE_URL": database_url,
    }

    seen = await doctor("--json", **pooled)
    refused = await doctor("--replica", **pooled)

    assert report(seen).findings
    assert "no address of the replica" in refused.stderr
    assert refused.returncode not in {0, 1}
