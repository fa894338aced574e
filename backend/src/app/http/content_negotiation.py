"""Content negotiation by `Accept` and `Accept-Encoding` (RFC 9110, sections 12.4 and 12.5)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


@dataclass(frozen=True)
class MediaType:
    """A media type that the service offers.

    A media range in `Accept` matches only a media type that has all parameters of the range.
    """

    name: str
    parameters: Mapping[str, str]

    @property
    def header(self) -> str:
        """Return the value of the `Content-Type` header."""
        return "; ".join((self.name, *(f"{key}={value}" for key, value in self.parameters.items())))


def best_media_type(accept: str, offered: Sequence[MediaType]) -> MediaType | None:
    """Return the offered type with the highest weight, or None if `Accept` excludes all types.

    The first offered type wins if weights are equal or `Accept` contains no valid range.
    """
    ranges = _weighted(accept)
    if not ranges:
        return offered[0]
    weights = [_weight(ranges, media_type) for media_type in offered]
    best = max(weights)
    return offered[weights.index(best)] if best > 0 else None


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether the client accepts gzip and gives it at least the weight of `identity`."""
    weights = {name: weight for name, _, weight in _weighted(accept_encoding)}
    otherwise = weights.get("*", 0.0)
    gzip = max(weights.get("gzip", otherwise), weights.get("x-gzip", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


_Range = tuple[str, dict[str, str], float]


def _weighted(header: str) -> list[_Range]:
    """Parse a header's elements into names, parameters and weights. Skip malformed elements."""
    found = []
    for element in header.lower().split(","):
        name, *rest = (part.strip() for part in element.split(";"))
        parameters = {}
        for part in rest:
            key, _, value = part.partition("=")
            parameters[key.strip()] = value.strip().strip('"')
        weight = parameters.pop("q", "1")
        if name and _WEIGHT.fullmatch(weight):
            found.append((name, parameters, float(weight)))
    return found


def _weight(ranges: Sequence[_Range], offered: MediaType) -> float:
    """Return the weight of the most specific range that matches `offered`, or 0 if none does."""
    kind = offered.name.partition("/")[0]
    specific = {"*/*": 0, f"{kind}/*": 1, offered.name: 2}
    matching = [
        (specific[name], len(parameters), weight)
        for name, parameters, weight in ranges
        if name in specific and parameters.items() <= offered.parameters.items()
    ]
    return max(matching)[2] if matching else 0.0
