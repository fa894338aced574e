from dataclasses import dataclass

from app.core.errors import AppError, ConflictError, PreconditionFailedError


@dataclass(frozen=True)
class VersionPrecondition:
    """The versions in which a client is ready to find what it changes; None for any.

    With versions named, finding another is a failed precondition. Without, a writer that was
    first, between the look and the change, is a conflict: trying again is then right.
    """

    versions: frozenset[int] | None = None

    def require(self, version: int) -> None:
        """Accept the version there is.

        Raises:
            PreconditionFailedError: it is none of those expected.
        """
        if self.versions is not None and version not in self.versions:
            raise PreconditionFailedError

    def concurrent_update_error(self) -> AppError:
        """What to say when the version has changed since `require` accepted it."""
        if self.versions is not None:
            return PreconditionFailedError()
        return ConflictError("Another request changed it at the same time, try again")
