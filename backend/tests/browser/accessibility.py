"""Accessibility violations that axe-core finds in a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from playwright.async_api import Page

AXE_SOURCE = Path(__file__).parents[2] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS_IMPACTS = ["serious", "critical"]
NO_EXCEPTIONS: Mapping[str, Sequence[str]] = MappingProxyType({})

RUN_AXE = """async ([levels, excused]) => {
    const { violations } = await axe.run({ resultTypes: ["violations"] });
    return violations
        .filter(({ impact }) => levels.includes(impact))
        .flatMap(({ id, nodes }) => nodes.map((node) => [id, node.target.at(-1), node.html]))
        .filter(([id, target]) => !(excused[id] ?? []).some(
            (selector) => document.querySelector(target)?.matches(selector)))
        .map(([id, target, html]) => `${id}: ${target} ${html.slice(0, 200)}`);
}"""


async def find_violations(
    page: Page, except_for: Mapping[str, Sequence[str]] = NO_EXCEPTIONS
) -> list[str]:
    """Return the serious and critical violations, a line for each element.

    The debugger evaluates axe-core, so the Content-Security-Policy of the page does not block it.
    `except_for` has selectors by rule. The rule ignores elements that its selectors match. Callers
    state the reason beside each selector.
    """
    await page.evaluate(f"() => {{ {AXE_SOURCE.read_text()} }}")
    found: list[str] = await page.evaluate(RUN_AXE, [SERIOUS_IMPACTS, dict(except_for)])
    return found
