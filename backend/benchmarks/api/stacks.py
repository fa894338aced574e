"""Sampled stacks and their flame graph, an SVG without scripts and absolute paths."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

# Functions from the one that serves a request to the innermost, as `name (package/module.py)`.
Stack = tuple[str, ...]

_REQUEST = "RequestResponseCycle.run_asgi "
_LINE = re.compile(r":\d+\)$")
_ABSOLUTE = re.compile(r"\((?:/|[A-Za-z]:\\).*?([^/\\]+[/\\][^/\\]+)\)$")
_COLOURS = {
    "app": "#e8590c",
    "fastapi": "#0ca678",
    "starlette": "#4dabf7",
    "uvicorn": "#9775fa",
    "sqlalchemy": "#fcc419",
    "asyncpg": "#f783ac",
    "structlog": "#a9e34b",
}
_OTHER = "#ced4da"
_WIDTH, _ROW, _LEFT, _TOP = 1200, 17, 10, 56
_LETTER = 6.3
_FEWEST_LETTERS = 4
# Narrower boxes are not drawn.
_LEAST_SHARE = 0.003


def requests_only(text: str) -> Counter[Stack]:
    """Count the stacks of requests in py-spy's raw format.

    The lines of a function are combined. A path that is not relative to Python's module path is
    shortened to its last two parts.
    """
    stacks: Counter[Stack] = Counter()
    for line in text.splitlines():
        names, _, count = line.rpartition(" ")
        frames = [_ABSOLUTE.sub(r"(\1)", _LINE.sub(")", name)) for name in names.split(";")]
        start = next((n for n, name in enumerate(frames) if name.startswith(_REQUEST)), None)
        if start is not None:
            stacks[tuple(frames[start:])] += int(count)
    return stacks


def shares(stacks: Mapping[Stack, int]) -> dict[str, float]:
    """Return each package's own share of the time in requests, the largest first."""
    own: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[package(stack[-1])] += count
    return {name: count / own.total() for name, count in own.most_common()}


def package(frame: str) -> str:
    """Return the package of a function."""
    path = frame.rpartition(" (")[2]
    return path.split("/")[0] if "/" in path else "other"


@dataclass
class _Box:
    """A function called from one place in the graph."""

    count: int = 0
    callees: dict[str, "_Box"] = field(default_factory=dict)


def flame_graph(title: str, stacks: Mapping[Stack, int]) -> str:
    """Draw callers above their callees, with widths as shares of the time in requests."""
    root = _Box()
    for stack, count in stacks.items():
        box = root
        box.count += count
        for frame in stack:
            box = box.callees.setdefault(frame, _Box())
            box.count += count
    boxes = list(_boxes(root, 0, 0.0, root.count))
    height = _TOP + _ROW * (1 + max(depth for depth, *_ in boxes)) + 10
    legend = "".join(
        f'<rect x="{_LEFT + 110 * n}" y="32" width="11" height="11" fill="{colour}"/>'
        f'<text x="{_LEFT + 110 * n + 16}" y="42">{name}</text>'
        for n, (name, colour) in enumerate([*_COLOURS.items(), ("other", _OTHER)])
    )
    drawn = "\n".join(_drawn(*box) for box in boxes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="monospace" font-size="10.5">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n'
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)} '
        f"({root.count:,} samples)</text>\n{legend}\n{drawn}\n</svg>\n"
    )


def _boxes(
    box: _Box, depth: int, left: float, total: int
) -> Iterator[tuple[int, float, float, str]]:
    """Yield depth, left edge and width (as shares) and name of each visible box."""
    for name, callee in sorted(box.callees.items()):
        share = callee.count / total
        if share >= _LEAST_SHARE:
            yield depth, left, share, name
            yield from _boxes(callee, depth + 1, left, total)
        left += share


def _drawn(depth: int, left: float, share: float, name: str) -> str:
    inside = _WIDTH - 2 * _LEFT
    x, width, y = _LEFT + left * inside, share * inside, _TOP + depth * _ROW
    letters = int((width - 4) / _LETTER)
    label = (
        name
        if len(name) <= letters
        else f"{name[: letters - 1]}…"
        if letters >= _FEWEST_LETTERS
        else ""
    )
    text = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(label)}</text>' if label else ""
    colour = _COLOURS.get(package(name), _OTHER)
    return (
        f"<g><title>{escape(name)} {share:.1%}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.5):.1f}" height="{_ROW - 1}" '
        f'fill="{colour}"/>{text}</g>'
    )
