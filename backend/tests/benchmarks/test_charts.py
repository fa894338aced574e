import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from benchmarks.api.charts import Bars, bar_chart, line_chart

pytestmark = pytest.mark.unit

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<b> & \"quoted\" 'too' ]]>"


def drawn(svg: str) -> ET.Element:
    root = ET.fromstring(svg)  # noqa: S314 - our own
    assert root.tag == f"{SVG}svg"
    return root


def words(root: ET.Element) -> list[str | None]:
    return [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "svg",
    [
        bar_chart(NASTY, NASTY, (NASTY, NASTY), ["a"], [Bars(NASTY, {"a": 0.5}, NASTY, 0.4)]),
        line_chart(NASTY, NASTY, (NASTY, NASTY), {NASTY: [(1, 2), (10, 3)]}),
        bar_chart(NASTY, NASTY, (NASTY, NASTY), [], []),
    ],
)
def test_it_is_xml_whatever_the_words_with_a_title(svg: str) -> None:
    root = drawn(svg)

    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert title.text == description.text == NASTY
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"


def test_bars_are_as_long_as_their_values() -> None:
    groups = [Bars("one", {"a": 1.0, "b": 0.25}, aim=0.5), Bars("two", {"b": 2.0})]
    root = drawn(bar_chart("t", "d", ("x", "y"), ["a", "b"], groups))

    legend = 2
    bars = list(root.iter(f"{SVG}rect"))[legend:]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 0.25, 2], abs=0.01)
    assert [bar.get("class") for bar in bars] == ["c0", "c1", "c1"]
    (aim,) = [line for line in root.iter(f"{SVG}line") if line.get("class") == "aim"]
    start = float(bars[0].get("x", ""))
    assert float(aim.get("x1", "")) == pytest.approx(start + widths[0] / 2, abs=0.2)
    assert {"one", "two", "1.00", "0.25", "2.00"} <= set(words(root))


def test_lines_go_through_their_points_on_logarithmic_axes() -> None:
    lines = {
        "flat": [(50.0, 2.0), (500.0, 2.0), (5000.0, 2.0)],
        "up": [(50.0, 2.0), (5000.0, 200.0)],
    }
    root = drawn(line_chart("t", "d", ("x", "y"), lines))

    flat, up = (
        [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        for line in root.iter(f"{SVG}polyline")
    )
    (x0, y0), (x1, y1), (x2, y2) = flat
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 == y1 == y2 == up[0][1]
    assert up[1][1] < up[0][1]
    assert {"50", "500", "5,000", "2: flat", "200: up"} <= set(words(root))


def test_one_point_is_a_chart_too() -> None:
    drawn(line_chart("t", "d", ("x", "y"), {"one": [(500.0, 1.5)]}))


def test_names_of_lines_do_not_cover_each_other() -> None:
    lines = {f"line {n}": [(1.0, 1.0), (10.0, 1.0 + n / 1000)] for n in range(5)}
    root = drawn(line_chart("t", "d", ("x", "y"), lines))

    named = [t for t in root.iter(f"{SVG}text") if ": line " in (t.text or "")]
    places = sorted(float(text.get("y", "")) for text in named)
    assert all(b - a >= 13.9 for a, b in pairwise(places))
