"""Ending a session that stands in the way."""

from app.core.errors import ConflictError, ForbiddenError, NotFoundError, NotSeenError
from app.doctor.catalog_rows import Session
from app.doctor.connection import DiagnosticConnection
from app.doctor.questions.sessions import SessionDiagnostics


class SessionTerminator:
    """Finds a session and, once somebody has said yes, ends it."""

    def __init__(self, examination: DiagnosticConnection) -> None:
        self._sessions = SessionDiagnostics(examination)

    async def find(self, pid: int) -> Session:
        """The session of that number.

        Raises:
            NotFoundError: there is none.
            ForbiddenError: it is not one to be ended here: of another database, PostgreSQL's own,
                or the one that asks.
        """
        found = await self._sessions.these([pid])
        if not found:
            raise NotFoundError(f"there is no session {pid}; deals doctor lists them")
        (session,) = found
        if session.own:
            raise ForbiddenError(f"{pid} is this command's own session")
        if not session.here:
            where = f"of database {session.database}" if session.database else "of no database"
            raise ForbiddenError(f"{pid} is {where}: only sessions of this one are ended here")
        if session.kind not in {None, "client backend"}:
            raise ForbiddenError(f"{pid} is PostgreSQL's own ({session.kind}), not a client's")
        return session

    async def end(self, session: Session) -> None:
        """End it; what its transaction has done is undone.

        Raises:
            NotFoundError: it has ended meanwhile.
            ForbiddenError: the role may not.
            ConflictError: it was told to end and has not, yet.
        """
        try:
            ended = await self._sessions.terminate(session.pid, session.started)
        except NotSeenError as error:
            raise ForbiddenError(f"PostgreSQL refuses to end {session.pid}: {error}") from error
        if ended is None:
            raise NotFoundError(f"{session.pid} has ended by itself")
        if not ended:
            raise ConflictError(f"{session.pid} was told to end, and goes on; look again")
