"""Facts about the data and the service's answers that the scenarios need."""

import json
from dataclasses import dataclass

from benchmarks.api.database import Database
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.http import Request, ask

_MOST_IDS = 2000


@dataclass(frozen=True)
class Facts:
    """Ids in random order, the ETag of the first deal, and a cursor at the position of `skip`."""

    deals: int
    deal_ids: list[int]
    hotel_ids: list[int]
    skip: int
    cursor: str
    tag: str


def learn(database: Database, port: int) -> Facts:
    """Query the facts from the database and from the service at `port`.

    Raises:
        BenchmarkError: the database has too few deals for the scenarios' pages.
    """
    deals: int = database.rows("SELECT count(*) FROM deals")[0][0]
    deal_ids = [
        row[0]
        for row in database.rows(f"SELECT id FROM deals ORDER BY md5(id::text) LIMIT {_MOST_IDS}")
    ]
    hotel_ids = [row[0] for row in database.rows("SELECT id FROM hotels ORDER BY id")]
    skip = deals * 4 // 5
    page = json.loads(ask(port, Request("GET", f"/deals?skip={skip}")).body)
    if page["next_cursor"] is None:
        raise BenchmarkError(f"{deals} deals are too few for the pages that are asked for")
    tag = ask(port, Request("GET", f"/deals/{deal_ids[0]}")).headers["etag"]
    return Facts(deals, deal_ids, hotel_ids, skip, page["next_cursor"], tag)
