"""Routes that are none of FastAPI's, and known by their template like those that are."""

from starlette.routing import Match, Route
from starlette.types import Scope


class PlainRoute(Route):
    """Tells the log and the metrics which route has answered."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's, with the route itself where FastAPI's routes put it."""
        match, child = super().matches(scope)
        return match, {**child, "route": self}
