import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from benchmarks.api.charts import Bars, bar_chart, line_chart

pytestmark = pytest.mark.unit

SVG = "{http://www.w3.org/2000/svg}"
MARKUP = "<b> & \"quoted\" 'too' ]]>"


def parse_svg(svg: str) -> ET.Element:
    root = ET.fromstring(svg)  # noqa: S314 - our own
    assert root.tag == f"{SVG}svg"
    return root


def text_labels(root: ET.Element) -> list[str | None]:
    return [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "svg",
    [
        bar_chart(MARKUP, MARKUP, (MARKUP, MARKUP), ["a"], [Bars(MARKUP, {"a": 0.5}, MARKUP, 0.4)]),
        line_chart(MARKUP, MARKUP, (MARKUP, MARKUP), {MARKUP: [(1, 2), (10, 3)]}),
        bar_chart(MARKUP, MARKUP, (MARKUP, MARKUP), [], []),
    ],
)
def test_chart_special_characters_are_escaped(svg: str) -> None:
    root = parse_svg(svg)

    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert title.text == description.text == MARKUP
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"


def test_bar_chart_bars_match_values() -> None:
    groups = [Bars("one", {"a": 1.0, "b": 0.25}, aim=0.5), Bars("two", {"b": 2.0})]
    root = parse_svg(bar_chart("t", "d", ("x", "y"), ["a", "b"], groups))

    legend = 2
    bars = list(root.iter(f"{SVG}rect"))[legend:]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 0.25, 2], abs=0.01)
    assert [bar.get("class") for bar in bars] == ["c0", "c1", "c1"]
    (aim,) = [line for line in root.iter(f"{SVG}line") if line.get("class") == "aim"]
    start = float(bars[0].get("x", ""))
    assert float(aim.get("x1", "")) == pytest.approx(start + widths[0] / 2, abs=0.2)
    assert {"one", "two", "1.00", "0.25", "2.00"} <= set(text_labels(root))


def test_line_chart_points_follow_logarithmic_axes() -> None:
    lines = {
        "flat": [(50.0, 2.0), (500.0, 2.0), (5000.0, 2.0)],
        "up": [(50.0, 2.0), (5000.0, 200.0)],
    }
    root = parse_svg(line_chart("t", "d", ("x", "y"), lines))

    flat, up = (
        [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        for line in root.iter(f"{SVG}polyline")
    )
    (x0, y0), (x1, y1), (x2, y2) = flat
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 == y1 == y2 == up[0][1]
    assert up[1][1] < up[0][1]
    assert {"50", "500", "5,000", "2: flat", "200: up"} <= set(text_labels(root))


def test_line_chart_single_point_is_drawn() -> None:
    parse_svg(line_chart("t", "d", ("x", "y"), {"one": [(500.0, 1.5)]}))


def test_line_chart_labels_do_not_overlap() -> None:
    lines = {f"line {n}": [(1.0, 1.0), (10.0, 1.0 + n / 1000)] for n in range(5)}
    root = parse_svg(line_chart("t", "d", ("x", "y"), lines))

    named = [t for t in root.iter(f"{SVG}text") if ": line " in (t.text or "")]
    places = sorted(float(text.get("y", "")) for text in named)
    assert all(b - a >= 13.9 for a, b in pairwise(places))
