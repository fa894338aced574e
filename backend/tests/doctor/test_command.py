"""`deals doctor` for people and scripts: exit statuses, text and JSON."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from pydantic import TypeAdapter
from sqlalchemy import URL
from tests.doctor.states import select_findings
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
def doctor_without_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command without a database."""
    return partial(in_process(tmp_path, capsys), "doctor")


@pytest.fixture
def doctor(database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command on the database of the test."""
    return partial(in_process(tmp_path, capsys, DATABASE_URL=database_url), "doctor")


@pytest.fixture
def client_session(clone_url: URL) -> Iterator[Session]:
    with psycopg.connect(dsn(clone_url), application_name="somebody", autocommit=True) as session:
        yield session


def parse_report(result: Ended) -> Report:
    """Return the JSON report, checked against its documented model."""
    found = REPORT.validate_json(result.stdout, strict=False)
    assert [one.severity for one in found.findings] == sorted(
        (one.severity for one in found.findings), key=SEVERITIES.index
    )
    assert found.status == found.findings[0].severity
    assert sum(found.counts.values()) == len(found.findings)
    assert "Traceback" not in result.stderr
    return found


def is_alive(session: Session) -> bool:
    try:
        return session.execute("SELECT true").fetchone() == (True,)
    except psycopg.OperationalError:
        return False


@pytest.fixture
def workers(database_url: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(database_url, tmp_path)
    yield started
    started.end()


class TestReport:
    def test_text_and_json_report_the_same_problems(self, doctor: Command) -> None:
        text_report = doctor()
        found = parse_report(doctor("--json"))

        # The tests' server runs without fsync, which is a problem for the doctor.
        assert text_report.returncode == 1
        lines = text_report.stdout.splitlines()
        assert lines[0].startswith("problem  settings: fsync is off")
        assert "         > ALTER SYSTEM SET fsync = 'on'; SELECT pg_reload_conf();" in lines
        assert lines[-1].startswith("2 problem, ")
        assert "\x1b" not in text_report.stdout
        assert found.status == "problem"
        assert found.counts["problem"] == 2
        assert found.database.database.startswith("test_")
        assert select_findings(found.findings, "numbers", "fine")[0].remedy == "deals verify"

    def test_unreachable_database_returns_one_line_and_finding(
        self, doctor_without_url: Command, tmp_path: Path
    ) -> None:
        url = f"postgresql+asyncpg://deals:s3cret@/deals?host={tmp_path}"

        text_report = doctor_without_url(DATABASE_URL=url)
        json_report = doctor_without_url("--json", DATABASE_URL=url)
        killing = doctor_without_url("--kill", "1", "--yes", DATABASE_URL=url)

        assert text_report.returncode == json_report.returncode == killing.returncode == 3
        where = f"{tmp_path}:5432 (database deals, user deals)"
        assert text_report.stderr.startswith(
            f"deals: cannot connect to PostgreSQL at {where}: refused"
        )
        assert text_report.stderr.count("\n") == 1
        assert text_report.stdout == ""
        (finding,) = parse_report(json_report).findings
        assert (finding.severity, finding.evidence) == ("problem", {"kind": "refused"})
        assert "s3cret" not in text_report.stderr + json_report.stdout + json_report.stderr

    @pytest.mark.unit
    def test_control_characters_are_not_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        with_controls = "SELECT '[red]\x1b[2J\n\x07done'"
        finding = Finding(
            "idle",
            "problem",
            with_controls,
            {"query": with_controls, with_controls: 1},
            with_controls,
            with_controls,
        )

        doctor_report.print_report(Report.of(Target(("h:1",), "d", "u"), [finding]))

        shown = capsys.readouterr().out
        assert shown.count("SELECT '[red] [2J done'") == 5
        assert not {"\x1b", "\x07"} & set(shown)

    @pytest.mark.slow
    def test_embedded_database_without_schema_is_not_migrated(
        self, doctor_without_url: Command, tmp_path: Path
    ) -> None:
        result = doctor_without_url()

        assert result.returncode == 1
        assert result.stdout.startswith("problem  schema: the database has no schema yet\n")
        assert result.stdout.splitlines()[2] == "         > deals migrate"
        assert processes_of(tmp_path / "data") == []

    @pytest.mark.slow
    @pytest.mark.parametrize("version", [16, 18])
    def test_standby_is_problem_as_primary_and_ok_as_replica(
        self, doctor_without_url: Command, tmp_path: Path, version: int
    ) -> None:
        home = tmp_path / "data"
        with embedded_postgres(home, version=version) as server:
            upgrade(server.url())
        data = home / "postgres" / "data"
        # This file starts a server as a standby, even without WAL to replay.
        signal = data / "standby.signal"
        signal.touch()
        status = data.stat()
        os.chown(signal, status.st_uid, status.st_gid)

        with embedded_postgres(home, version=version) as server:
            primary = doctor_without_url("--json", DATABASE_URL=server.url())
            replica = doctor_without_url(
                "--replica",
                "--json",
                DATABASE_URL="postgresql://nobody@nowhere.invalid/x",
                READ_DATABASE_URL=server.url(),
            )

        assert (primary.returncode, replica.returncode) == (1, 0), primary.stdout + replica.stderr
        assert "the server is a standby: every write gets a 503 response" in primary.stdout
        found = parse_report(replica).findings
        assert "the server is a standby, as expected" in {one.title for one in found}
        assert not select_findings(found, "schema")
        assert not [one for one in found if one.severity == "unknown"]

    def test_pgbouncer_is_bypassed(self, doctor: Command, database_url: str) -> None:
        """Nothing listens at PgBouncer's address, and the replica has no direct address."""
        nowhere = "postgresql://deals@127.0.0.1:1/deals"
        pooled = {
            "DB_PGBOUNCER": "true",
            "DATABASE_URL": nowhere,
            "READ_DATABASE_URL": nowhere,
            "DIRECT_DATABASE_URL": database_url,
        }

        seen = doctor("--json", **pooled)
        refused = doctor("--replica", **pooled)

        assert parse_report(seen).findings
        assert "--replica does not work with DB_PGBOUNCER" in refused.stderr
        assert refused.returncode not in {0, 1}

    @pytest.mark.slow
    def test_killed_worker_is_reported_dead(self, doctor: Command, workers: Workers) -> None:
        worker = workers.start()

        def reports(severity: str, words: str) -> bool:
            found = parse_report(doctor("--json", WORKER_HEARTBEAT="1"))
            return any(
                words in one.title for one in select_findings(found.findings, "workers", severity)
            )

        wait_for_sync(
            lambda: reports("fine", "1 workers are alive"), "the worker is reported alive"
        )
        kill(worker)
        wait_for_sync(
            lambda: reports("warning", "is dead or hangs: its last heartbeat was"),
            "the worker is reported dead",
        )


class TestKill:
    def test_session_is_terminated_only_when_confirmed(
        self, doctor: Command, client_session: Session
    ) -> None:
        pid = str(client_session.info.backend_pid)
        client_session.execute("BEGIN")
        client_session.execute("SELECT 'its last words'")

        unconfirmed = doctor("--kill", pid)
        declined = doctor("--kill", pid, stdin="n\n")
        assert is_alive(client_session)
        confirmed = doctor("--kill", pid, stdin="y\n")

        assert unconfirmed.returncode == declined.returncode == 1
        assert "End this session?" in declined.stderr
        assert confirmed.returncode == 0, confirmed.stderr
        assert "application: somebody" in confirmed.stdout
        assert (
            confirmed.stdout.splitlines()[-1]
            == f"session {pid} has ended; its uncommitted changes are rolled back"
        )
        assert not is_alive(client_session)

    def test_yes_option_skips_confirmation_and_refuses_other_databases(
        self, doctor: Command, client_session: Session, server_url: URL
    ) -> None:
        pid = str(client_session.info.backend_pid)
        with psycopg.connect(dsn(server_url), autocommit=True) as foreign_session:
            foreign = doctor("--kill", str(foreign_session.info.backend_pid), "--yes")
            assert is_alive(foreign_session)
        done = doctor("--kill", pid, "--yes")
        gone = doctor("--kill", pid, "--yes")

        assert foreign.returncode == gone.returncode == 3
        assert "This command ends only sessions of its own database." in foreign.stderr
        assert done.returncode == 0, done.stderr
        assert gone.stderr == (
            f"deals: there is no session {pid}. "
            "Run `deals doctor` for the sessions with problems.\n"
        )
