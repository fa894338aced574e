"""What axe-core finds wrong with a page."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from playwright.async_api import Page

SOURCE = Path(__file__).parents[2] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = {"serious", "critical"}
NOTHING: Mapping[str, tuple[str, ...]] = MappingProxyType({})

IS_ONE_OF = """([target, selectors]) =>
    selectors.some(selector => document.querySelector(target)?.matches(selector))"""


async def violations(page: Page, except_for: Mapping[str, tuple[str, ...]] = NOTHING) -> list[str]:
    """The serious and critical ones, a line for each element.

    The page's Content-Security-Policy is not in the way of what a debugger evaluates. `except_for`
    has selectors by rule, each with its reason beside it: what one matches is not held against the
    page for that rule.
    """
    await page.evaluate(f"() => {{ {SOURCE.read_text()} }}")
    result: dict[str, Any] = await page.evaluate("() => axe.run()")
    return [
        f"{violation['id']}: {target} {node['html'][:200]}"
        for violation in result["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
        for target in node["target"][-1:]
        if not await page.evaluate(IS_ONE_OF, [target, except_for.get(violation["id"], ())])
    ]
