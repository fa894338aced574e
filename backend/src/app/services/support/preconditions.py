from dataclasses import dataclass

from app.core.errors import AppError, ConflictError, PreconditionFailedError


@dataclass(frozen=True)
class VersionPrecondition:
    """The versions of a resource that a client expects, or None for any version.

    With expected versions, another version is a failed precondition. Without them, a concurrent
    change between the read and the write is a conflict, and the client can retry.
    """

    versions: frozenset[int] | None = None

    def require(self, version: int) -> None:
        """Check the current version.

        Raises:
            PreconditionFailedError: the client does not expect this version.
        """
        if self.versions is not None and version not in self.versions:
            raise PreconditionFailedError

    def concurrent_update_error(self) -> AppError:
        """Return the error for a version that changed after `require` accepted it."""
        if self.versions is not None:
            return PreconditionFailedError()
        return ConflictError("Another request changed this resource at the same time, try again")
