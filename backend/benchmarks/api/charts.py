"""SVG charts that are readable on light and dark pages and by screen readers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.small { font-size: 11px; fill: #57606a; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.aim { stroke: #24292f; stroke-width: 2; stroke-dasharray: 3 2; }
.c0 { fill: #0969da; stroke: #0969da; }
.c1 { fill: #bc4c00; stroke: #bc4c00; }
.c2 { fill: #1a7f37; stroke: #1a7f37; }
.c3 { fill: #8250df; stroke: #8250df; }
.c4 { fill: #bf3989; stroke: #bf3989; }
.c5 { fill: #6e7781; stroke: #6e7781; }
.line { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.small { fill: #9198a1; }
.grid { stroke: #3d444d; }
.aim { stroke: #e6edf3; }
.c0 { fill: #4493f8; stroke: #4493f8; }
.c1 { fill: #db6d28; stroke: #db6d28; }
.c2 { fill: #3fb950; stroke: #3fb950; }
.c3 { fill: #ab7df8; stroke: #ab7df8; }
.c4 { fill: #db61a2; stroke: #db61a2; }
.c5 { fill: #9198a1; stroke: #9198a1; }
.line { fill: none; }
}
"""
_COLOURS = 6
_WIDTH = 860
_LABELS = 285
_NOTES = 150
_BAR, _BAR_GAP, _GROUP_GAP = 12, 2, 12
_TOP, _BOTTOM = 34, 28


@dataclass(frozen=True)
class Bars:
    """One group of a bar chart: a bar for each series with a value, and an optional target."""

    label: str
    values: Mapping[str, float]
    note: str = ""
    aim: float | None = None


def bar_chart(
    title: str,
    description: str,
    axes: tuple[str, str],
    series: Sequence[str],
    groups: Sequence[Bars],
) -> str:
    """Draw horizontal bars from 0 to the longest value, or to 1 if all are shorter.

    `axes` are the labels of the value 1 and of the notes.
    """
    longest = max([1.0, *(value for group in groups for value in group.values.values())])
    scale = (_WIDTH - _LABELS - _NOTES) / longest
    parts = [*_legend(series), _text(_WIDTH - 4, 18, axes[1], "small end")]
    y = float(_TOP)
    for group in groups:
        height = len(group.values) * (_BAR + _BAR_GAP)
        middle = y + height / 2 + 4
        parts.append(_text(_LABELS - 8, middle, group.label, "end"))
        for n, name in enumerate(series):
            if name not in group.values:
                continue
            width = group.values[name] * scale
            parts.append(_box(n, _LABELS, y, width))
            value = f"{group.values[name]:.2f}"
            parts.append(_text(_LABELS + width + 6, y + _BAR - 2, value, "small"))
            y += _BAR + _BAR_GAP
        if group.aim is not None:
            x = _LABELS + group.aim * scale
            parts.append(_line(x, y - height - 3, x, y + 1, "aim"))
        parts.append(_text(_WIDTH - 4, middle, group.note, "small end"))
        y += _GROUP_GAP
    one = _LABELS + scale
    grid = [_line(one, _TOP - 6, one, y, "grid"), _text(one, y + 14, axes[0], "small middle")]
    return _svg(title, description, y + _BOTTOM, [*grid, *parts])


def line_chart(
    title: str,
    description: str,
    axes: tuple[str, str],
    lines: Mapping[str, Sequence[tuple[float, float]]],
) -> str:
    """Draw lines with two logarithmic axes, each with its name at its last point."""
    points = [point for line in lines.values() for point in line]
    height = 480
    left, right, top, bottom = 60, _WIDTH - 250, 30, height - 50
    across = _Scale.around([x for x, _ in points], left, right)
    up = _Scale.around([y for _, y in points], bottom, top)
    parts = []
    for x in sorted({x for x, _ in points}):
        parts.append(_line(across(x), top, across(x), bottom, "grid"))
        parts.append(_text(across(x), bottom + 18, f"{x:,.0f}", "small middle"))
    for y in up.steps():
        parts.append(_line(left, up(y), right, up(y), "grid"))
        parts.append(_text(left - 6, up(y) + 4, f"{y:g}", "small end"))
    parts.append(_text((left + right) / 2, height - 10, axes[0], "small middle"))
    parts.append(_text(8, 16, axes[1], "small"))
    ends = _apart({name: up(line[-1][1]) for name, line in lines.items()}, 14)
    for n, (name, line) in enumerate(lines.items()):
        colour = f"c{n % _COLOURS}"
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)
        parts.append(f'<polyline class="{colour} line" points="{path}"/>')
        for x, y in line:
            parts.append(f'<circle class="{colour}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"/>')
        end = _text(right + 10, ends[name] + 4, f"{line[-1][1]:.3g}: {name}", "")
        parts.append(end)
    return _svg(title, description, height, parts)


@dataclass(frozen=True)
class _Scale:
    """A logarithmic scale from values to positions on an axis."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> "_Scale":
        """Return a scale that covers all values."""
        low, high = math.log10(min(values)), math.log10(max(values))
        return cls(low, high if high > low else low + 1, start, end)

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def steps(self) -> list[float]:
        """Return the round values on the axis."""
        exponents = range(math.floor(self.low), math.ceil(self.high) + 1)
        steps = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
        return [step for step in steps if self.low <= math.log10(step) <= self.high]


def _apart(places: Mapping[str, float], distance: float) -> dict[str, float]:
    """Move positions down so that no two are closer than `distance`."""
    moved: dict[str, float] = {}
    last = -math.inf
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        last = moved[name] = max(place, last + distance)
    return moved


def _legend(series: Sequence[str]) -> list[str]:
    parts = []
    for n, name in enumerate(series):
        x = _LABELS + n * 150
        parts.append(_box(n, x, 8, _BAR))
        parts.append(_text(x + 18, 18, name, "small"))
    return parts


def _text(x: float, y: float, text: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _box(series: int, x: float, y: float, width: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}"'
    return f'<rect class="c{series}" {place}/>'


def _line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    return f'<line class="{classes}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(title: str, description: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}"'
        ' role="img" aria-labelledby="title description">'
    )
    named = (
        f'<title id="title">{escape(title)}</title>'
        f'<desc id="description">{escape(description)}</desc>'
    )
    return "\n".join([head, named, f"<style>{_STYLE}</style>", *parts, "</svg>", ""])
