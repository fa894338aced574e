"""`deals doctor` as its users run it: exit statuses, what people read and what scripts read."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from pydantic import TypeAdapter
from sqlalchemy import URL
from tests.doctor.states import of
from tests.jobs.workers import Workers, kill
from tests.support.child_processes import processes_of
from tests.support.commands import Command, Ended, in_process
from tests.support.databases import dsn
from tests.support.waiting import wait_for_sync

from app.cli.commands import doctor_report
from app.cli.commands.doctor_report import Report
from app.db.migrations import upgrade
from app.doctor.connection import Target
from app.doctor.findings import SEVERITIES, Finding
from app.embedded.server import embedded_postgres

pytestmark = pytest.mark.integration

REPORT = TypeAdapter(Report)
Session: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


@pytest.fixture
def anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, without a database."""
    return partial(in_process(tmp_path, capsys), "doctor")


@pytest.fixture
def doctor(database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command on the test's own database."""
    return partial(in_process(tmp_path, capsys, DATABASE_URL=database_url), "doctor")


@pytest.fixture
def somebody(clone_url: URL) -> Iterator[Session]:
    with psycopg.connect(dsn(clone_url), application_name="somebody", autocommit=True) as session:
        yield session


def report(result: Ended) -> Report:
    """What was written as JSON, if it is what is documented."""
    found = REPORT.validate_json(result.stdout, strict=False)
    assert [one.severity for one in found.findings] == sorted(
        (one.severity for one in found.findings), key=SEVERITIES.index
    )
    assert found.status == found.findings[0].severity
    assert sum(found.counts.values()) == len(found.findings)
    assert "Traceback" not in result.stderr
    return found


def test_what_a_person_reads_and_what_a_script_reads(doctor: Command) -> None:
    for_people = doctor()
    found = report(doctor("--json"))

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


def is_alive(session: Session) -> bool:
    try:
        return session.execute("SELECT true").fetchone() == (True,)
    except psycopg.OperationalError:
        return False


def test_a_session_is_ended_when_somebody_says_so(doctor: Command, somebody: Session) -> None:
    pid = str(somebody.info.backend_pid)
    somebody.execute("BEGIN")
    somebody.execute("SELECT 'its last words'")

    unsaid = doctor("--kill", pid)
    no = doctor("--kill", pid, stdin="n\n")
    assert is_alive(somebody)
    yes = doctor("--kill", pid, stdin="y\n")

    assert unsaid.returncode == no.returncode == 1
    assert "End it?" in no.stderr
    assert yes.returncode == 0, yes.stderr
    assert "application: somebody" in yes.stdout
    assert yes.stdout.splitlines()[-1] == f"{pid} is ended; what it had not committed is undone"
    assert not is_alive(somebody)


def test_ending_without_being_asked_and_what_is_refused(
    doctor: Command, somebody: Session, server_url: URL
) -> None:
    pid = str(somebody.info.backend_pid)
    with psycopg.connect(dsn(server_url), autocommit=True) as elsewhere:
        foreign = doctor("--kill", str(elsewhere.info.backend_pid), "--yes")
        assert is_alive(elsewhere)
    done = doctor("--kill", pid, "--yes")
    gone = doctor("--kill", pid, "--yes")

    assert foreign.returncode == gone.returncode == 3
    assert "only sessions of this one are ended here" in foreign.stderr
    assert done.returncode == 0, done.stderr
    assert gone.stderr == f"deals: there is no session {pid}; deals doctor lists them\n"


def test_no_connection_is_one_line_and_a_finding(anywhere: Command, tmp_path: Path) -> None:
    url = f"postgresql+asyncpg://deals:s3cret@/deals?host={tmp_path}"

    for_people = anywhere(DATABASE_URL=url)
    for_scripts = anywhere("--json", DATABASE_URL=url)
    killing = anywhere("--kill", "1", "--yes", DATABASE_URL=url)

    assert for_people.returncode == for_scripts.returncode == killing.returncode == 3
    where = f"{tmp_path}:5432 (database deals, user deals)"
    assert for_people.stderr.startswith(f"deals: cannot connect to PostgreSQL at {where}: refused")
    assert for_people.stderr.count("\n") == 1
    assert for_people.stdout == ""
    (finding,) = report(for_scripts).findings
    assert (finding.severity, finding.evidence) == ("problem", {"kind": "refused"})
    assert "s3cret" not in for_people.stderr + for_scripts.stdout + for_scripts.stderr


@pytest.mark.slow
def test_an_embedded_database_is_looked_at_as_it_is(anywhere: Command, tmp_path: Path) -> None:
    result = anywhere()

    assert result.returncode == 1
    assert result.stdout.startswith("problem  schema: the database has no schema yet\n")
    assert result.stdout.splitlines()[2] == "         > deals migrate"
    assert processes_of(tmp_path / "data") == []


@pytest.mark.slow
@pytest.mark.parametrize("version", [16, 18])
def test_a_replica(anywhere: Command, tmp_path: Path, version: int) -> None:
    home = tmp_path / "data"
    with embedded_postgres(home, version=version) as server:
        upgrade(server.url())
    data = home / "postgres" / "data"
    # A standby that gets nothing to replay is one, too.
    signal = data / "standby.signal"
    signal.touch()
    status = data.stat()
    os.chown(signal, status.st_uid, status.st_gid)

    with embedded_postgres(home, version=version) as server:
        primary = anywhere("--json", DATABASE_URL=server.url())
        replica = anywhere(
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
    assert not [one for one in found if one.severity == "unknown"]


@pytest.mark.slow
def test_a_worker_that_was_killed(doctor: Command, workers: Workers) -> None:
    worker = workers.start()

    def says(severity: str, words: str) -> bool:
        found = report(doctor("--json", WORKER_HEARTBEAT="1"))
        return any(words in one.title for one in of(found.findings, "workers", severity))

    wait_for_sync(lambda: says("fine", "1 workers are alive"), "it is seen alive")
    kill(worker)
    wait_for_sync(lambda: says("warning", "is dead, or hangs: silent for"), "it is seen dead")


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


def test_it_looks_past_a_pooler(doctor: Command, database_url: str) -> None:
    """Of which nobody answers here; of the replica behind it there is no address at all."""
    nowhere = "postgresql://deals@127.0.0.1:1/deals"
    pooled = {
        "DB_PGBOUNCER": "true",
        "DATABASE_URL": nowhere,
        "READ_DATABASE_URL": nowhere,
        "DIRECT_DATABASE_URL": database_url,
    }

    seen = doctor("--json", **pooled)
    refused = doctor("--replica", **pooled)

    assert report(seen).findings
    assert "no address of the replica" in refused.stderr
    assert refused.returncode not in {0, 1}
