import httpx
import pytest
from tests.conftest import Catalog

pytestmark = pytest.mark.api


class TestGetHotel:
    async def test_existing_id_returns_all_fields(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        hotel = catalog.hotels[catalog.deals[0].hotel_id]
        stars = [deal.star_rating for deal in catalog.deals if deal.hotel_id == hotel.id]

        shown = (await client.get(f"/hotels/{hotel.id}")).json()

        assert shown.pop("created_at").endswith("Z")
        assert shown.pop("updated_at").endswith("Z")
        assert shown == {
            "id": hotel.id,
            "name": hotel.name,
            "city": hotel.city,
            "country": hotel.country,
            "phone": hotel.phone,
            "avg_star_rating": round(sum(stars) / len(stars), 2),
            "deal_count": 15,
            "version": 1,
        }

    async def test_hotel_without_deals_returns_null_average(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        empty = next(hotel for hotel in catalog.hotels.values() if hotel.name == "Empty House")

        shown = (await client.get(f"/hotels/{empty.id}")).json()

        assert (shown["avg_star_rating"], shown["deal_count"]) == (None, 0)


class TestListHotels:
    @pytest.mark.parametrize(
        ("query", "city"),
        [("city=berlin", "Berlin"), ("city=zÜrich", "Zürich"), ("city=Nowhere", None)],
    )
    async def test_city_filter_ignores_case(
        self, client: httpx.AsyncClient, catalog: Catalog, query: str, city: str | None
    ) -> None:
        expected = sorted(
            hotel.id
            for hotel in catalog.hotels.values()
            if city and hotel.city.casefold() == city.casefold()
        )

        page = (await client.get(f"/hotels?limit=100&{query}")).json()

        assert [hotel["id"] for hotel in page["items"]] == expected
        assert page["total"] == len(expected)

    async def test_search_words_match_name_and_city(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        page = (await client.get("/hotels?q=inn o'hara ZÜ")).json()

        assert [hotel["name"] for hotel in page["items"]] == ["O'Hara 100% Inn"]

    async def test_next_links_return_whole_list(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        seen: list[int] = []
        url: str | None = "/hotels?limit=4&country=somewhere"
        while url:
            response = await client.get(url)
            seen += [hotel["id"] for hotel in response.json()["items"]]
            url = response.links.get("next", {}).get("url")

        assert seen == sorted(catalog.hotels)

    async def test_skip_past_end_returns_empty_page_with_total(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        page = (await client.get("/hotels?skip=1000")).json()

        assert (page["items"], page["total"]) == ([], len(catalog.hotels))

    async def test_count_none_returns_null_total(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/hotels?count=none&limit=2")

        assert response.json()["total"] is None
        assert "skip=2" in response.links["next"]["url"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hotels/999999", 404),
        ("/hotels/0", 422),
        ("/hotels/x", 422),
        ("/hotels?sort=name", 422),
        ("/hotels?limit=0", 422),
        ("/hotels?city=a%00", 422),
    ],
)
async def test_hotels_unknown_id_or_invalid_parameter_returns_error(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    response = await client.get(path)

    assert response.status_code == status
    assert set(response.json()) == {"error"}
