"""Measure the load times of the dashboard's pages in Chromium, with an empty cache.

The browser is the program at CHROMIUM, or a Chromium on PATH.
"""

import argparse
import asyncio
import os
import re
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, async_playwright

from benchmarks.api import cli, docs, machine
from benchmarks.api.database import filled, postgres
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.servers import servers

_COMMAND = "mise run bench:pages"
_PAGES = {
    "first page": "/",
    "filtered": "/?city=Berlin&price_max=300&available_only=true&sort=-discount_percent",
    "cities": "/dashboard/cities",
    "imports": "/dashboard/imports",
}
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CHART = "chart.js"
# Returns the time of the latest candidate in milliseconds, by
# https://w3c.github.io/largest-contentful-paint/.
_LARGEST_PAINT = """() => new Promise(resolve => new PerformanceObserver(
    list => resolve(list.getEntries().at(-1).startTime)
).observe({type: 'largest-contentful-paint', buffered: true}))"""


@dataclass(frozen=True)
class Visit:
    """One page load with an empty cache."""

    largest_paint_ms: float
    # As transferred: compressed, with headers.
    bytes: int
    chart_bytes: int
    requests: int
    statements: int


def main() -> int:
    """Visit each page several times in turns. With --check, return 1 if a limit is exceeded."""
    arguments = _arguments()
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        raise BenchmarkError("no Chromium: apt-get install chromium, or set CHROMIUM to its path")
    with (
        postgres() as (server, folder),
        filled(server, folder, arguments.rows) as database,
        servers(["service"], database, {}) as running,
    ):
        origin = f"http://127.0.0.1:{running['service'].port}"
        name, visits = asyncio.run(_visits(program, origin, arguments.rounds))
        about = machine.about(database, name, ())
    table = _table(visits, arguments.rows)
    print(table)
    if arguments.json:
        found = {name: [vars(each) for each in some] for name, some in visits.items()}
        cli.write_json(arguments.json, {**about, "pages": found})
    if arguments.write_docs:
        docs.write("pages", f"{docs.provenance(about, _COMMAND)}\n\n{table}", {})
    return int(arguments.check and not _within_limits(visits["first page"]))


def _arguments() -> argparse.Namespace:
    made = cli.bare_parser(_COMMAND, __doc__)
    cli.add_output(made)
    cli.add_rows(made)
    made.add_argument("--rounds", type=int, default=7, help="visits (default %(default)s)")
    made.add_argument(
        "--check", action="store_true", help="exit with 1 over 1 s or 100 kB without the chart"
    )
    return made.parse_args()


async def _visits(program: str, origin: str, rounds: int) -> tuple[str, dict[str, list[Visit]]]:
    found: dict[str, list[Visit]] = {name: [] for name in _PAGES}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=_FLAGS)
        name = f"Chromium {browser.version}"
        # The first visit is not measured, because it starts the browser's processes.
        await _visit(browser, origin, "/")
        for number in range(rounds):
            for page, address in _PAGES.items():
                found[page].append(await _visit(browser, origin, address))
            cli.say(f"round {number + 1} of {rounds}")
        await browser.close()
    return name, found


async def _visit(browser: Browser, origin: str, address: str) -> Visit:
    context = await browser.new_context(base_url=origin)
    try:
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        sizes = _Sizes(session)
        await session.send("Network.enable")
        response = await page.goto(address, wait_until="networkidle")
        if response is None or not response.ok:
            raise BenchmarkError(f"{address} does not answer as it should")
        timing = await response.header_value("server-timing") or ""
        match = re.search(r"SQL statements: (\d+)", timing)
        return Visit(
            largest_paint_ms=await _largest_paint(page),
            bytes=sum(sizes.bytes.values()),
            chart_bytes=sum(size for url, size in sizes.bytes.items() if _CHART in url),
            requests=len(sizes.bytes),
            statements=int(match[1]) if match else 0,
        )
    finally:
        await context.close()


async def _largest_paint(page: Page) -> float:
    found: float = await page.evaluate(_LARGEST_PAINT)
    return found


class _Sizes:
    """The transferred bytes by URL, as Chromium's network domain counts them."""

    def __init__(self, session: CDPSession) -> None:
        self._urls: dict[str, str] = {}
        self.bytes: dict[str, int] = {}
        session.on("Network.responseReceived", self._begun)
        session.on("Network.loadingFinished", self._ended)

    def _begun(self, event: dict[str, Any]) -> None:
        self._urls[event["requestId"]] = event["response"]["url"]

    def _ended(self, event: dict[str, Any]) -> None:
        url = self._urls.get(event["requestId"], "")
        if url.startswith("http"):
            self.bytes[url] = int(event["encodedDataLength"])


def _median(visits: Sequence[Visit], name: str) -> float:
    return statistics.median(float(getattr(each, name)) for each in visits)


def _without_chart(visits: Sequence[Visit]) -> float:
    return statistics.median(each.bytes - each.chart_bytes for each in visits)


def _within_limits(visits: Sequence[Visit]) -> bool:
    return _median(visits, "largest_paint_ms") < 1000 and _without_chart(visits) < 100_000  # noqa: PLR2004 - as --check says


def _table(visits: dict[str, list[Visit]], rows: int) -> str:
    columns = ("largest paint", "slowest", "kB", "with the chart library", "requests")
    lines = [
        f"| page, {rows:,} deals | {' | '.join((*columns, 'SQL statements'))} |",
        f"|---|{'---:|' * 6}",
    ]
    for name, some in visits.items():
        slowest = max(each.largest_paint_ms for each in some)
        lines.append(
            f"| {name} | {_median(some, 'largest_paint_ms'):.0f} ms | {slowest:.0f} ms "
            f"| {_without_chart(some) / 1000:.1f} | {_median(some, 'bytes') / 1000:.1f} "
            f"| {_median(some, 'requests'):.0f} | {_median(some, 'statements'):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
