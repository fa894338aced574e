from collections import Counter

import httpx
import pytest
from tests.conftest import Catalog

pytestmark = pytest.mark.api


async def test_list_categories_returns_deal_counts_sorted_by_name(
    client: httpx.AsyncClient, catalog: Catalog
) -> None:
    counts = Counter(name for deal in catalog.deals for name in deal.categories)
    counts["unused"] = 0

    shown = (await client.get("/categories")).json()

    assert shown == [{"name": name, "deal_count": counts[name]} for name in sorted(counts)]


async def test_list_categories_unknown_parameter_returns_422(client: httpx.AsyncClient) -> None:
    response = await client.get("/categories?skip=1")

    assert response.status_code == 422
    assert response.json()["error"]["details"][0]["field"] == "query.skip"


@pytest.mark.parametrize("query", ["?", "?&", "?&&"])
async def test_list_categories_empty_query_string_returns_200(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"/categories{query}")

    assert response.status_code == 200
