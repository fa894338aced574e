"""The doctor does no harm, and says what it cannot see."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import URL, text
from tests.doctor.states import Connection, connect, examine, execute, of
from tests.support.databases import as_text
from tests.support.timeouts import TIMEOUT

from app.core.config import Settings
from app.core.errors import DatabaseUnreachableError, ForbiddenError, NotFoundError, NotSeenError
from app.db.migrations import known_revisions
from app.doctor.connection import APPLICATION, Target, open_diagnostics
from app.doctor.context import DiagnosisContext
from app.doctor.examination import DoctorService
from app.doctor.termination import SessionTerminator

pytestmark = pytest.mark.integration


async def test_nothing_can_be_written_and_nothing_takes_long(url: URL) -> None:
    async with open_diagnostics(as_text(url), TIMEOUT) as examination:
        with pytest.raises(NotSeenError, match="read-only"):
            await examination.rows(text("CREATE TABLE mine ()"))
        with pytest.raises(NotSeenError, match=r"longer than 0\.05 s"):
            await examination.rows(text("SELECT pg_sleep(9)"), seconds=0.05)
        # And it goes on.
        assert await examination.rows(text("SELECT 1 AS one")) == [{"one": 1}]


async def test_what_is_locked_is_not_waited_for(
    url: URL, session_of_somebody: Connection, settings: Settings
) -> None:
    async with session_of_somebody.transaction():
        await session_of_somebody.execute(
            "LOCK TABLE alembic_version, procrastinate_jobs, deals, hotels IN ACCESS EXCLUSIVE MODE"
        )
        findings = await examine(url, settings)

    unseen = {one.check: one.title for one in findings if one.severity == "unknown"}
    assert set(unseen) == {"schema", "workers"}
    assert "somebody has locked it" in unseen["schema"]
    # All about tables is there: none was opened.
    assert of(findings, "sizes", "fine")[0].evidence["deals"]


async def test_others_do_not_wait_for_the_doctor(url: URL) -> None:
    async with open_diagnostics(as_text(url), TIMEOUT) as examination:
        await examination.rows(text("SELECT count(*) FROM deals"))
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


async def test_the_servers_own_settings_are_seen(url: URL, settings: Settings) -> None:
    name = url.database
    await execute(
        url,
        f'ALTER DATABASE "{name}" SET synchronous_commit = off;\n'
        f"ALTER DATABASE \"{name}\" SET statement_timeout = '7s'",
    )

    findings = of(await examine(url, settings), "settings", "warning", "fine")

    seen = {one.evidence.get("setting"): one for one in findings}
    assert seen["synchronous_commit"].severity == "warning"
    assert "SET synchronous_commit = 'on'" in seen["synchronous_commit"].remedy
    assert "jit" in seen
    assert "statement_timeout" not in seen


@pytest.fixture
async def plain_role(url: URL) -> AsyncIterator[str]:
    """Whoever connects to the test's database has the rights of an ordinary role."""
    role = f"plain_{uuid4().hex}"
    await execute(url, f'CREATE ROLE {role};\nALTER DATABASE "{url.database}" SET role = {role}')
    yield role
    # Who connects is who one was: SET ROLE is what the role of the session may do.
    await execute(
        url,
        f'SET ROLE NONE;\nALTER DATABASE "{url.database}" RESET role;\n'
        f"DROP OWNED BY {role};\nDROP ROLE {role}",
    )


async def test_a_role_without_rights_is_told_what_it_cannot_see(
    session_of_somebody: Connection, url: URL, settings: Settings, plain_role: str
) -> None:
    # Granted on the tables, as the service's role is, but not pg_monitor.
    await session_of_somebody.execute(
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {plain_role}"
    )
    async with session_of_somebody.transaction():
        await session_of_somebody.execute("UPDATE hotels SET city = 'Hidden' WHERE id = 1")
        findings = await examine(url, settings)

    (rights,) = of(findings, "server")
    assert (rights.severity, rights.evidence["role"]) == ("unknown", plain_role)
    assert rights.remedy == f'GRANT pg_monitor TO "{plain_role}";'
    assert not of(findings, "schema")
    assert "Hidden" not in str(findings)
    (connections,) = of(findings, "connections", "fine")
    assert "somebody (state not shown)" in connections.evidence
    assert of(findings, "sizes", "fine")[0].evidence["deals"]


async def test_a_role_without_any_rights_at_all(
    url: URL, settings: Settings, plain_role: str
) -> None:
    unseen = {one.check: one.title for one in of(await examine(url, settings), "schema", "unknown")}

    assert "permission denied for table alembic_version" in unseen["schema"]


async def test_a_connection_that_is_lost_on_the_way(url: URL, settings: Settings) -> None:
    async with open_diagnostics(as_text(url), TIMEOUT) as examination:
        await execute(
            url,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE application_name = '{APPLICATION}' AND datname = current_database()",
        )
        situation = DiagnosisContext(
            settings, 1, replica=False, memory=None, revisions=known_revisions()
        )
        (lost,) = await DoctorService(examination, situation).findings()

    assert lost.severity == "problem"
    assert lost.title.startswith(f"the connection to {Target.of(as_text(url))} was lost: ")


async def test_a_session_is_ended(
    url: URL, session_of_somebody: Connection, settings: Settings
) -> None:
    gone = asyncio.Event()
    session_of_somebody.add_termination_listener(lambda _: gone.set())
    async with open_diagnostics(as_text(url), TIMEOUT) as examination:
        ending = SessionTerminator(examination)
        session = await ending.find(session_of_somebody.get_server_pid())
        await ending.end(session)
        with pytest.raises(NotFoundError, match="has ended by itself"):
            await ending.end(session)
        with pytest.raises(NotFoundError, match="there is no session"):
            await ending.find(session.pid)

    assert session.application == "somebody"
    async with asyncio.timeout(TIMEOUT):
        await gone.wait()


async def test_what_is_not_to_be_ended_is_refused(url: URL, version_url: URL) -> None:
    elsewhere = await connect(version_url)
    try:
        async with open_diagnostics(as_text(url), TIMEOUT) as examination:
            ending = SessionTerminator(examination)
            (own,) = await examination.rows(text("SELECT pg_backend_pid() AS pid"))
            (keeper,) = await examination.rows(
                text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
            )
            with pytest.raises(ForbiddenError, match="this command's own"):
                await ending.find(own["pid"])
            with pytest.raises(ForbiddenError, match="of no database"):
                await ending.find(keeper["pid"])
            with pytest.raises(ForbiddenError, match="only sessions of this one"):
                await ending.find(elsewhere.get_server_pid())
        assert await elsewhere.fetchval("SELECT 1") == 1
    finally:
        await elsewhere.close()


async def test_postgresql_may_refuse_to_end_a_session(
    session_of_somebody: Connection, url: URL, plain_role: str
) -> None:
    async with open_diagnostics(as_text(url), TIMEOUT) as examination:
        ending = SessionTerminator(examination)
        session = await ending.find(session_of_somebody.get_server_pid())
        with pytest.raises(ForbiddenError, match="PostgreSQL refuses to end"):
            await ending.end(session)

    assert await session_of_somebody.fetchval("SELECT 1") == 1


async def refusal(url: URL | str, patience: float = TIMEOUT) -> DatabaseUnreachableError:
    with pytest.raises(DatabaseUnreachableError) as caught:
        async with open_diagnostics(url if isinstance(url, str) else as_text(url), patience):
            pass
    return caught.value


async def test_why_there_is_no_connection(url: URL, version_url: URL) -> None:
    await execute(url, f'ALTER DATABASE "{version_url.database}" SET statement_timeout = 0')
    nobody = await refusal(url.set(username="nobody_here"))
    nothing = await refusal(url.set(database="nothing_here"))
    closed = await connect(version_url)
    await closed.execute(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS false')
    shut = await refusal(url)
    await closed.execute(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS true')
    await closed.close()

    assert nobody.kind == "authentication"
    assert nothing.kind == "no such database"
    assert "database nothing_here" in str(nothing)
    assert shut.kind == "not accepting"


@pytest.mark.unit
async def test_why_a_host_does_not_answer() -> None:
    with socket.socket() as deaf, socket.socket() as closed:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        closed.bind(("127.0.0.1", 0))
        url = "postgresql+asyncpg://me:s3cret@127.0.0.1"
        hanging = await refusal(f"{url}:{deaf.getsockname()[1]}/x", patience=0.2)
        port = closed.getsockname()[1]
        refused = await refusal(f"{url}:{port}/x")
        unknown = await refusal("postgresql+asyncpg://me:s3cret@nowhere.invalid/x")

    assert (hanging.kind, refused.kind, unknown.kind) == ("timeout", "refused", "unknown host")
    assert f"127.0.0.1:{port} (database x, user me): refused after " in str(refused)
    assert float(re.findall(r"after (\d+\.\d\d) s", str(hanging))[0]) >= 0.2
    assert not any("s3cret" in str(error) for error in (hanging, refused, unknown))


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
def test_where_a_url_goes(url: str, hosts: tuple[str, ...], local: bool) -> None:
    assert Target.of(url) == Target(hosts, "d", "u")
    assert Target.of(url).local is local
