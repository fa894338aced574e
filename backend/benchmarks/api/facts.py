"""What the scenarios need to know of the data and of what the service has answered."""

import json
from dataclasses import dataclass

from benchmarks.api.database import Database
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.http import Request, ask

_MOST_IDS = 2000


@dataclass(frozen=True)
class Facts:
    """Ids in no order; `tag` is of the first deal; `cursor` is as deep as `skip`."""

    deals: int
    deal_ids: list[int]
    hotel_ids: list[int]
    skip: int
    cursor: str
    tag: str


def learn(database: Database, port: int) -> Facts:
    """Ask the database, and the service at `port`.

    Raises:
        BenchmarkError: there are too few deals for a page that deep.
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
