from dataclasses import dataclass

from app.core.errors import AppError, ConflictError, PreconditionFailedError


@dataclass(frozen=True)
class VersionPrecondition:
    """The versions of a resource that a client expects, or None if the client accepts any version.

    If the client expects versions, any other version is a failed precondition. If the client
    accepts any version, a concurrent change between read and write is a conflict that can be
    retried.
    """

    versions: frozenset[int] | None = None

    def require(self, version: int) -> None:
        """Check that the client accepts the resource's current version.

        Raises:
            PreconditionFailedError: the client expects a different version.
        """
        if self.versions is not None and version not in self.versions:
            raise PreconditionFailedError

    def concurrent_update_error(self) -> AppError:
        """Return the error for a concurrent change after `require` accepted the version."""
        if self.versions is not None:
            return PreconditionFailedError()
        return ConflictError("Another request changed this resource at the same time, try again")
