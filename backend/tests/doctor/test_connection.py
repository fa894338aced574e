"""The doctor changes nothing, and reports what it may not see."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import URL, text
from tests.doctor.factories import make_context
from tests.doctor.states import Connection, connect, diagnose, execute_script, select_findings
from tests.support.databases import as_text
from tests.support.timeouts import TIMEOUT

from app.core.config import Settings
from app.core.errors import DatabaseUnreachableError, ForbiddenError, NotFoundError, NotSeenError
from app.doctor.connection import APPLICATION, Target, open_diagnostics
from app.doctor.examination import DoctorService
from app.doctor.termination import SessionTerminator

pytestmark = pytest.mark.integration


@pytest.fixture
async def plain_role(url: URL) -> AsyncIterator[str]:
    """Give connections to the test's database the rights of an ordinary role."""
    role = f"plain_{uuid4().hex}"
    await execute_script(
        url, f'CREATE ROLE {role};\nALTER DATABASE "{url.database}" SET role = {role}'
    )
    yield role
    # SET ROLE NONE restores the rights of the login role.
    await execute_script(
        url,
        f'SET ROLE NONE;\nALTER DATABASE "{url.database}" RESET role;\n'
        f"DROP OWNED BY {role};\nDROP ROLE {role}",
    )


class TestDiagnosticConnection:
    async def test_write_and_slow_query_raise_not_seen(self, url: URL) -> None:
        async with open_diagnostics(as_text(url), TIMEOUT) as diagnostics:
            with pytest.raises(NotSeenError, match="read-only"):
                await diagnostics.rows(text("CREATE TABLE mine ()"))
            with pytest.raises(NotSeenError, match=r"longer than 0\.05 s"):
                await diagnostics.rows(text("SELECT pg_sleep(9)"), seconds=0.05)
            # The connection still works.
            assert await diagnostics.rows(text("SELECT 1 AS one")) == [{"one": 1}]

    async def test_locked_table_is_reported_unknown(
        self, url: URL, client_connection: Connection, settings: Settings
    ) -> None:
        async with client_connection.transaction():
            await client_connection.execute(
                "LOCK TABLE alembic_version, procrastinate_jobs, deals, hotels"
                " IN ACCESS EXCLUSIVE MODE"
            )
            findings = await diagnose(url, settings)

        unseen = {one.check: one.title for one in findings if one.severity == "unknown"}
        assert set(unseen) == {"schema", "workers"}
        assert "another session held its lock" in unseen["schema"]
        # The checks of tables read catalogs only, so the lock does not stop them.
        assert select_findings(findings, "sizes", "fine")[0].evidence["deals"]

    async def test_holds_no_locks_between_queries(self, url: URL) -> None:
        async with open_diagnostics(as_text(url), TIMEOUT) as diagnostics:
            await diagnostics.rows(text("SELECT count(*) FROM deals"))
            connection = await connect(url)
            try:
                held = await connection.fetchval(
                    "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
                    "WHERE application_name = $1 AND datname = current_database()",
                    APPLICATION,
                )
            finally:
                await connection.close()

        assert held == 0

    async def test_database_settings_are_reported_instead_of_its_own(
        self, url: URL, settings: Settings
    ) -> None:
        name = url.database
        await execute_script(
            url,
            f'ALTER DATABASE "{name}" SET synchronous_commit = off;\n'
            f"ALTER DATABASE \"{name}\" SET statement_timeout = '7s'",
        )

        findings = select_findings(await diagnose(url, settings), "settings", "warning", "fine")

        seen = {one.evidence.get("setting"): one for one in findings}
        assert seen["synchronous_commit"].severity == "warning"
        assert "SET synchronous_commit = 'on'" in seen["synchronous_commit"].remedy
        assert "jit" in seen
        assert "statement_timeout" not in seen

    async def test_lost_connection_is_reported_as_problem(
        self, url: URL, settings: Settings
    ) -> None:
        async with open_diagnostics(as_text(url), TIMEOUT) as diagnostics:
            await execute_script(
                url,
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                f"WHERE application_name = '{APPLICATION}' AND datname = current_database()",
            )
            context = make_context(settings=settings)
            (lost,) = await DoctorService(diagnostics, context).findings()

        assert lost.severity == "problem"
        assert lost.title.startswith(f"the connection to {Target.of(as_text(url))} was lost: ")


class TestPlainRole:
    async def test_missing_pg_monitor_is_reported_with_grant(
        self, client_connection: Connection, url: URL, settings: Settings, plain_role: str
    ) -> None:
        # The role has rights on the tables, as the service's role has, but not pg_monitor.
        await client_connection.execute(
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {plain_role}"
        )
        async with client_connection.transaction():
            await client_connection.execute("UPDATE hotels SET city = 'Hidden' WHERE id = 1")
            findings = await diagnose(url, settings)

        (rights,) = select_findings(findings, "server")
        assert (rights.severity, rights.evidence["role"]) == ("unknown", plain_role)
        assert rights.remedy == f'GRANT pg_monitor TO "{plain_role}";'
        assert not select_findings(findings, "schema")
        assert "Hidden" not in str(findings)
        (connections,) = select_findings(findings, "connections", "fine")
        assert "somebody (state hidden)" in connections.evidence
        assert select_findings(findings, "sizes", "fine")[0].evidence["deals"]

    async def test_missing_table_rights_report_schema_unknown(
        self, url: URL, settings: Settings, plain_role: str
    ) -> None:
        unseen = {
            one.check: one.title
            for one in select_findings(await diagnose(url, settings), "schema", "unknown")
        }

        assert "permission denied for table alembic_version" in unseen["schema"]


class TestSessionTerminator:
    async def test_open_session_is_terminated_once(
        self, url: URL, client_connection: Connection, settings: Settings
    ) -> None:
        gone = asyncio.Event()
        client_connection.add_termination_listener(lambda _: gone.set())
        async with open_diagnostics(as_text(url), TIMEOUT) as diagnostics:
            terminator = SessionTerminator(diagnostics)
            session = await terminator.find(client_connection.get_server_pid())
            await terminator.end(session)
            with pytest.raises(NotFoundError, match="has already ended"):
                await terminator.end(session)
            with pytest.raises(NotFoundError, match="there is no session"):
                await terminator.find(session.pid)

        assert session.application == "somebody"
        async with asyncio.timeout(TIMEOUT):
            await gone.wait()

    async def test_own_system_and_foreign_sessions_are_refused(
        self, url: URL, version_url: URL
    ) -> None:
        foreign_connection = await connect(version_url)
        try:
            async with open_diagnostics(as_text(url), TIMEOUT) as diagnostics:
                terminator = SessionTerminator(diagnostics)
                (own,) = await diagnostics.rows(text("SELECT pg_backend_pid() AS pid"))
                (keeper,) = await diagnostics.rows(
                    text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
                )
                with pytest.raises(ForbiddenError, match="this command's own"):
                    await terminator.find(own["pid"])
                with pytest.raises(ForbiddenError, match="belongs to no database"):
                    await terminator.find(keeper["pid"])
                with pytest.raises(ForbiddenError, match="only sessions of its own database"):
                    await terminator.find(foreign_connection.get_server_pid())
            assert await foreign_connection.fetchval("SELECT 1") == 1
        finally:
            await foreign_connection.close()

    async def test_missing_privilege_raises_forbidden(
        self, client_connection: Connection, url: URL, plain_role: str
    ) -> None:
        async with open_diagnostics(as_text(url), TIMEOUT) as diagnostics:
            terminator = SessionTerminator(diagnostics)
            session = await terminator.find(client_connection.get_server_pid())
            with pytest.raises(ForbiddenError, match="PostgreSQL refuses to end"):
                await terminator.end(session)

        assert await client_connection.fetchval("SELECT 1") == 1


async def connection_error(url: URL | str, patience: float = TIMEOUT) -> DatabaseUnreachableError:
    with pytest.raises(DatabaseUnreachableError) as caught:
        async with open_diagnostics(url if isinstance(url, str) else as_text(url), patience):
            pass
    return caught.value


class TestConnectionError:
    async def test_server_rejection_returns_its_kind(self, url: URL, version_url: URL) -> None:
        await execute_script(
            url, f'ALTER DATABASE "{version_url.database}" SET statement_timeout = 0'
        )
        nobody = await connection_error(url.set(username="nobody_here"))
        nothing = await connection_error(url.set(database="nothing_here"))
        closed = await connect(version_url)
        await closed.execute(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS false')
        shut = await connection_error(url)
        await closed.execute(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS true')
        await closed.close()

        assert nobody.kind == "authentication"
        assert nothing.kind == "no such database"
        assert "database nothing_here" in str(nothing)
        assert shut.kind == "not accepting"

    @pytest.mark.unit
    async def test_unreachable_host_returns_its_kind_without_password(self) -> None:
        with socket.socket() as deaf, socket.socket() as closed:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            closed.bind(("127.0.0.1", 0))
            url = "postgresql+asyncpg://me:s3cret@127.0.0.1"
            hanging = await connection_error(f"{url}:{deaf.getsockname()[1]}/x", patience=0.2)
            port = closed.getsockname()[1]
            refused = await connection_error(f"{url}:{port}/x")
            unknown = await connection_error("postgresql+asyncpg://me:s3cret@nowhere.invalid/x")

        assert (hanging.kind, refused.kind, unknown.kind) == ("timeout", "refused", "unknown host")
        assert f"127.0.0.1:{port} (database x, user me): refused after " in str(refused)
        assert float(re.findall(r"after (\d+\.\d\d) s", str(hanging))[0]) >= 0.2
        assert not any("s3cret" in str(error) for error in (hanging, refused, unknown))


class TestTarget:
    @pytest.mark.unit
    @pytest.mark.parametrize(
        ("url", "hosts", "local"),
        [
            ("postgresql+asyncpg://u:p@db.example.org:6543/d", ("db.example.org:6543",), False),
            ("postgresql+asyncpg://u@localhost/d", ("localhost:5432",), True),
            ("postgresql+asyncpg://u@/d?host=/run/pg&port=5432", ("/run/pg:5432",), True),
            ("postgresql+asyncpg://u@/d?host=a:1&host=b:2", ("a:1", "b:2"), False),
            ("postgresql+asyncpg://u@[::1]:6000/d", ("[::1]:6000",), True),
        ],
    )
    def test_url_gives_hosts_and_locality(
        self, url: str, hosts: tuple[str, ...], local: bool
    ) -> None:
        assert Target.of(url) == Target(hosts, "d", "u")
        assert Target.of(url).local is local
