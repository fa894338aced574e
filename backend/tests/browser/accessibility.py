"""What axe-core finds wrong with a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from playwright.async_api import Page

SOURCE = Path(__file__).parents[2] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ["serious", "critical"]
NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})

RUN = """async ([levels, excused]) => {
    const { violations } = await axe.run({ resultTypes: ["violations"] });
    return violations
        .filter(({ impact }) => levels.includes(impact))
        .flatMap(({ id, nodes }) => nodes.map((node) => [id, node.target.at(-1), node.html]))
        .filter(([id, target]) => !(excused[id] ?? []).some(
            (selector) => document.querySelector(target)?.matches(selector)))
        .map(([id, target, html]) => `${id}: ${target} ${html.slice(0, 200)}`);
}"""


async def violations(page: Page, except_for: Mapping[str, Sequence[str]] = NOTHING) -> list[str]:
    """The serious and critical ones, a line for each element.

    The page's Content-Security-Policy is not in the way of what a debugger evaluates. `except_for`
    has selectors by rule, each with its reason beside it: what one matches is not held against the
    page for that rule.
    """
    await page.evaluate(f"() => {{ {SOURCE.read_text()} }}")
    found: list[str] = await page.evaluate(RUN, [SERIOUS, dict(except_for)])
    return found
