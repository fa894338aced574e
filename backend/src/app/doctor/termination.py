"""Termination of a database session at the operator's request."""

from app.core.errors import ConflictError, ForbiddenError, NotFoundError, NotSeenError
from app.doctor.catalog_rows import Session
from app.doctor.connection import DiagnosticConnection
from app.doctor.questions.sessions import SessionDiagnostics


class SessionTerminator:
    """A service that ends sessions. The caller asks for confirmation between `find` and `end`."""

    def __init__(self, examination: DiagnosticConnection) -> None:
        self._sessions = SessionDiagnostics(examination)

    async def find(self, pid: int) -> Session:
        """Return the session with the process id `pid`, if this command may end the session.

        Raises:
            NotFoundError: the session does not exist.
            ForbiddenError: the session belongs to another database, to PostgreSQL itself, or to
                this command.
        """
        found = await self._sessions.these([pid])
        if not found:
            raise NotFoundError(
                f"there is no session {pid}. Run `deals doctor` for the sessions with problems."
            )
        (session,) = found
        if session.own:
            raise ForbiddenError(f"session {pid} is this command's own session")
        if not session.here:
            where = f"database {session.database}" if session.database else "no database"
            raise ForbiddenError(
                f"session {pid} belongs to {where}. "
                "This command ends only sessions of its own database."
            )
        if session.kind not in {None, "client backend"}:
            raise ForbiddenError(
                f"session {pid} is a process of PostgreSQL ({session.kind}), not a client's session"
            )
        return session

    async def end(self, session: Session) -> None:
        """End a session. PostgreSQL rolls back its transaction.

        Raises:
            NotFoundError: the session has already ended.
            ForbiddenError: the role may not end the session.
            ConflictError: the session has not ended after five seconds.
        """
        try:
            ended = await self._sessions.terminate(session.pid, session.started)
        except NotSeenError as error:
            raise ForbiddenError(
                f"PostgreSQL refuses to end session {session.pid}: {error}"
            ) from error
        if ended is None:
            raise NotFoundError(f"session {session.pid} has already ended")
        if not ended:
            raise ConflictError(
                f"session {session.pid} is still running after the request to end it. "
                "Run `deals doctor` again."
            )
