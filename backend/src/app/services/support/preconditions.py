from dataclasses import dataclass

from app.core.errors import AppError, ConflictError, PreconditionFailedError


@dataclass(frozen=True)
class VersionPrecondition:
    """The versions of a resource that a client expects, or None if it accepts any version.

    If the client expects versions, any other version is a failed precondition. If it accepts any
    version, a concurrent change between read and write is a conflict, and the client can retry.
    """

    versions: frozenset[int] | None = None

    def require(self, version: int) -> None:
        """Check that the client accepts `version`, the current one.

        Raises:
            PreconditionFailedError: the client expects another version.
        """
        if self.versions is not None and version not in self.versions:
            raise PreconditionFailedError

    def concurrent_update_error(self) -> AppError:
        """Return the error for a concurrent change after `require` accepted the version."""
        if self.versions is not None:
            return PreconditionFailedError()
        return ConflictError("Another request changed this resource at the same time, try again")
