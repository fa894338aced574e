"""The doctor's examination of a database. A failed check does not stop the others."""

from collections.abc import Awaitable, Callable

from app.core.errors import DatabaseUnreachableError, NotSeenError
from app.doctor.catalog_rows import Activity, Server, Setting
from app.doctor.connection import DiagnosticConnection
from app.doctor.context import DiagnosisContext
from app.doctor.findings import Finding, by_severity
from app.doctor.questions.server import ServerDiagnostics
from app.doctor.questions.sessions import SessionDiagnostics
from app.doctor.questions.tables import TableDiagnostics, declared_indexes
from app.doctor.questions.work import WorkDiagnostics
from app.doctor.rules import indexes, locks, server, sessions, settings, tables, work
from app.repositories.jobs import MISSED_HEARTBEATS

Look = Callable[[], Awaitable[list[Finding]]]


class DoctorService:
    """A service that runs all checks on one database over one connection."""

    def __init__(self, examination: DiagnosticConnection, situation: DiagnosisContext) -> None:
        self._examination = examination
        self._situation = situation
        self._server = ServerDiagnostics(examination)
        self._sessions = SessionDiagnostics(examination)
        self._tables = TableDiagnostics(examination)
        self._work = WorkDiagnostics(examination)
        # Values that several checks need. They are queried once before the checks.
        self._about: Server
        self._settings: dict[str, Setting]
        self._activity: Activity
        self._bytes: int | None = None
        self._at_head = False

    async def findings(self) -> list[Finding]:
        """Run all checks and return their findings, worst first.

        If the connection is lost, skip the remaining checks and report the loss as a finding.
        """
        checks: tuple[tuple[str, Look], ...] = (
            ("server", self._look_at_server),
            ("clock", self._look_at_clock),
            ("schema", self._look_at_schema),
            ("settings", self._look_at_settings),
            ("connections", self._look_at_connections),
            ("locks", self._look_at_locks),
            ("idle", self._look_at_idle),
            ("queries", self._look_at_queries),
            ("prepared", self._look_at_prepared),
            ("workers", self._look_at_work),
            ("indexes", self._look_at_indexes),
            ("tables", self._look_at_tables),
            ("cache", self._look_at_cache),
            ("wraparound", self._look_at_ages),
            ("slots", self._look_at_slots),
            ("disk", self._look_at_disk),
            ("numbers", self._point_to_numbers),
        )
        found: list[Finding] = []
        try:
            await self._ask_around()
            for name, look in checks:
                found += await _seen(name, look)
        except NotSeenError as error:
            title = f"the server's catalogs could not be read: {error}"
            found.append(Finding("server", "unknown", title))
        except DatabaseUnreachableError as error:
            found.append(Finding("server", "problem", str(error), advice=error.advice))
        return by_severity(found)

    async def _ask_around(self) -> None:
        self._about = await self._server.server()
        self._settings = await self._server.settings(settings.NAMES)
        self._activity = await self._server.activity()
        try:
            self._bytes = await self._server.size()
        except NotSeenError:
            self._bytes = None

    async def _look_at_server(self) -> list[Finding]:
        examination = self._examination
        return server.server(
            self._about, examination.target, examination.connected_in, self._situation
        )

    async def _look_at_clock(self) -> list[Finding]:
        return server.clock(await self._server.clock())

    async def _look_at_schema(self) -> list[Finding]:
        found, known = await self._server.revisions(), self._situation.revisions
        self._at_head = found is not None and list(found) == list(known[-1:])
        return server.schema(found, known)

    async def _look_at_settings(self) -> list[Finding]:
        return [
            *settings.single(self._settings, standby=self._about.standby),
            *settings.sizes(self._settings, self._situation.memory, self._bytes),
            *settings.capacity(self._settings, self._about, self._situation),
        ]

    async def _look_at_connections(self) -> list[Finding]:
        found = await self._sessions.connections()
        return sessions.connections(found, self._settings, self._about)

    async def _look_at_locks(self) -> list[Finding]:
        waiting = await self._sessions.waiting()
        concerned = {pid for one in waiting for pid in (one.pid, *one.blockers)}
        found = {one.pid: one for one in await self._sessions.these(concerned)}
        return locks.waits(waiting, found, self._situation.settings.db_lock_timeout)

    async def _look_at_idle(self) -> list[Finding]:
        found = await self._sessions.idle_in_transaction(sessions.IDLE_WARNING)
        return sessions.idle_in_transaction(found)

    async def _look_at_queries(self) -> list[Finding]:
        timeout = self._situation.settings.db_statement_timeout
        return sessions.running(await self._sessions.running(), timeout)

    async def _look_at_prepared(self) -> list[Finding]:
        return sessions.prepared(await self._sessions.prepared())

    async def _look_at_work(self) -> list[Finding]:
        if not await self._work.exists():
            return [Finding("workers", "unknown", "the schema has no job queue yet")]
        silence = self._situation.settings.worker_heartbeat * MISSED_HEARTBEATS
        queue = await self._work.queue()
        return [
            *work.workers(await self._work.workers(), queue, silence),
            *work.jobs(queue),
            *work.imports(await self._work.open_imports(), silence),
        ]

    async def _look_at_indexes(self) -> list[Finding]:
        found, all_tables = await self._tables.indexes(), await self._tables.tables()
        # The models describe only the latest revision of the schema.
        declared = declared_indexes() if self._at_head else []
        kinds = [
            indexes.undone(found, all_tables, declared),
            indexes.invalid(found),
            indexes.scans(all_tables, self._activity),
            indexes.duplicates(found),
            indexes.unused(found, self._activity, declared),
            indexes.foreign_keys(await self._tables.foreign_keys()),
        ]
        return indexes.together(kinds, len(found))

    async def _look_at_tables(self) -> list[Finding]:
        found = await self._tables.tables()
        return [
            *tables.vacuum(found),
            *tables.analyze(found),
            *tables.sizes(found, self._bytes),
        ]

    async def _look_at_cache(self) -> list[Finding]:
        return server.activity(self._activity, self._bytes)

    async def _look_at_ages(self) -> list[Finding]:
        return server.ages(await self._server.ages(), self._settings)

    async def _look_at_slots(self) -> list[Finding]:
        return server.slots(await self._server.slots())

    async def _look_at_disk(self) -> list[Finding]:
        return server.disk(self._situation.settings)

    async def _point_to_numbers(self) -> list[Finding]:
        title = "derived numbers are not checked here, because that reads every deal"
        return [Finding("numbers", "fine", title, remedy="deals verify")]


async def _seen(name: str, look: Look) -> list[Finding]:
    try:
        return await look()
    except NotSeenError as error:
        return [Finding(name, "unknown", f"{name} could not be checked: {error}")]
