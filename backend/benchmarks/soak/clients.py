"""The clients of the soak test, which continue after errors and record their answers."""

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.soak.ledger import GONE, Ledger, State

# In seconds. A read waits for a connection (5) and one statement (3.5), a write for several.
READ_DEADLINE = 10.0
WRITE_DEADLINE = 30.0
_READS = (
    "/deals?city=berlin&limit=20",
    "/deals?price_min=100&price_max=300&sort=-discount_percent",
    "/deals/1",
    "/deals/stats",
    "/hotels?limit=10",
    "/categories",
    "/dashboard",
)
_DEAL = {
    "room_type": "suite",
    "star_rating": 4,
    "original_price": "900.00",
    "discount_percent": 10,
    "checkin_date": "2027-01-01",
    "checkout_date": "2027-01-05",
}
# The first `external_id` of these clients, higher than all ids of files.
FIRST_ID = 1_000_000_000
_PAUSE = 0.02


@dataclass
class Seen:
    """The combined observations of all clients."""

    statuses: Counter[str] = field(default_factory=Counter)
    # A line for each request that missed its deadline.
    late: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)

    def note(self, kind: str, what: str, status: int | None, seconds: float, limit: float) -> None:
        """Count a request."""
        answer = f"{status // 100}xx" if status else "no answer"
        self.statuses[f"{kind} {answer}"] += 1
        self.slowest[kind] = max(self.slowest.get(kind, 0.0), seconds)
        if seconds > limit:
            self.late.append(f"{what}: {seconds:.1f} s, {answer}")


class Client:
    """A client that writes its own deals, one after the other, and reads in between."""

    def __init__(self, http: httpx.AsyncClient, number: int, seen: Seen, ledger: Ledger) -> None:
        self._http = http
        self._seen = seen
        self._ledger = ledger
        self._chance = random.Random(number)  # noqa: S311 - a mix
        self._ids = itertools.count(FIRST_ID + number * 1_000_000)
        # Maps the external_id of each deal to its id, once that is known.
        self._mine: dict[int, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set."""
        kinds = (self._read, self._make, self._change, self._remove, self._make_wrongly)
        while not stop.is_set():
            (act,) = self._chance.choices(kinds, weights=(60, 18, 12, 6, 4))
            await act()
            await asyncio.sleep(_PAUSE)

    async def _ask(
        self, kind: str, method: str, path: str, **options: Any
    ) -> httpx.Response | None:
        limit = READ_DEADLINE if kind == "read" else WRITE_DEADLINE
        started = time.monotonic()
        response: httpx.Response | None = None
        try:
            response = await self._http.request(method, path, timeout=4 * limit, **options)
        except httpx.HTTPError:
            # The server closed the connection or does not listen.
            await asyncio.sleep(0.1)
        status = response.status_code if response is not None else None
        self._seen.note(kind, f"{method} {path}", status, time.monotonic() - started, limit)
        return response

    async def _read(self) -> None:
        await self._ask("read", "GET", self._chance.choice(_READS))

    async def _make(self, **wrong: str) -> None:
        external_id = next(self._ids)
        price = self._price()
        body = {**_DEAL, **price, **wrong, "external_id": external_id, "hotel_id": 1}
        made = await self._ask("write", "POST", "/deals", json=body)
        self._told(external_id, made, {GONE}, price["price_per_night"])
        if made is not None and made.is_success:
            self._mine[external_id] = made.json()["id"]

    async def _make_wrongly(self) -> None:
        await self._make(checkout_date="2026-01-01")

    async def _change(self) -> None:
        if self._mine:
            external_id, deal_id = self._chance.choice(list(self._mine.items()))
            body = self._price()
            changed = await self._ask("write", "PATCH", f"/deals/{deal_id}", json=body)
            before = self._ledger.states[external_id]
            self._told(external_id, changed, before, body["price_per_night"])

    async def _remove(self) -> None:
        if self._mine:
            external_id = self._chance.choice(list(self._mine))
            # Deletes a deal only once, because the 404 of a second DELETE would prove nothing.
            deal_id = self._mine.pop(external_id)
            removed = await self._ask("write", "DELETE", f"/deals/{deal_id}")
            self._told(external_id, removed, self._ledger.states[external_id], GONE)

    def _price(self) -> dict[str, str]:
        return {"price_per_night": f"{self._chance.randint(100, 89999) / 100:.2f}"}

    def _told(
        self, external_id: int, response: httpx.Response | None, before: set[State], after: State
    ) -> None:
        status = response.status_code if response is not None else None
        self._ledger.told(external_id, status, before, after)


class Uploader:
    """A client that uploads small files one after the other. Each import must end."""

    ROWS = 300

    def __init__(self, http: httpx.AsyncClient, content: list[bytes]) -> None:
        self._http = http
        self._files = itertools.cycle(content)
        self.made: list[str] = []
        self.refused = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set."""
        while not stop.is_set():
            try:
                answer = await self._http.post(
                    "/imports?force=true",
                    content=next(self._files),
                    headers={"Content-Type": "text/csv"},
                    timeout=60,
                )
            except httpx.HTTPError:
                self.refused += 1
            else:
                if answer.is_success:
                    self.made.append(answer.json()["links"]["self"])
                else:
                    self.refused += 1
            await asyncio.sleep(1.0)

    async def states(self, seconds: float) -> Counter[str]:
        """Wait until all imports have ended, and return the numbers of their states."""
        deadline = time.monotonic() + seconds
        while True:
            found: Counter[str] = Counter()
            for path in self.made:
                answer = await self._http.get(path)
                found[answer.json()["state"] if answer.is_success else "unknown"] += 1
            under_way = found["queued"] + found["running"] + found["unknown"]
            if not under_way or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.5)
