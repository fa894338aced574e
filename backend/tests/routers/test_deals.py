from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx
import pytest
from tests.conftest import Catalog
from tests.support.deal_filters import DEAL_FILTERS, DealPredicate, average_stars

pytestmark = pytest.mark.api


async def list_deal_ids(client: httpx.AsyncClient, query: str) -> tuple[list[int], int | None]:
    response = await client.get(f"/deals?limit=100&{query}")
    assert response.status_code == 200, response.text
    page = response.json()
    return [deal["id"] for deal in page["items"]], page["total"]


INVALID_QUERIES = [
    ("skip=-1", "query.skip"),
    ("skip=9223372036854775808", "query.skip"),
    ("skip=1.5", "query.skip"),
    ("limit=0", "query.limit"),
    ("limit=101", "query.limit"),
    ("limit=abc", "query.limit"),
    ("limit=", "query.limit"),
    ("count=all", "query.count"),
    ("sort=name", "query.sort"),
    ("sort=", "query.sort"),
    ("sort=id,", "query.sort"),
    ("sort=price_per_night,-price_per_night", "query"),
    ("city=", "query.city"),
    ("city=%20", "query.city"),
    ("city=a%00b", "query.city"),
    ("city=" + "x" * 20_000, "query.city"),
    ("q=%00", "query.q"),
    ("min_stars=5.01", "query.min_stars"),
    ("min_stars=-1", "query.min_stars"),
    ("min_stars=nan", "query.min_stars"),
    ("min_stars=1e-100000", "query.min_stars"),
    ("q=" + "%F0%9D%85%A0" * 200, "query.q"),  # NFC turns this one character into three
    ("min_stars=inf", "query.min_stars"),
    ("price_min=0", "query.price_min"),
    ("price_min=-5", "query.price_min"),
    ("price_min=1.005", "query.price_min"),
    ("price_min=NaN", "query.price_min"),
    ("price_max=1e400", "query.price_max"),
    ("price_max=100000000", "query.price_max"),
    ("price_min=20&price_max=10", "query"),
    ("hotel_id=0", "query.hotel_id"),
    ("hotel_id=9223372036854775808", "query.hotel_id"),
    (f"hotel_id={10**400}", "query.hotel_id"),
    ("available_only=maybe", "query.available_only"),
    ("min_discount=101", "query.min_discount"),
    ("checkin_from=tomorrow", "query.checkin_from"),
    ("checkin_from=2027-02-30", "query.checkin_from"),
    ("checkin_from=0", "query.checkin_from"),  # a number is not a date (not seconds since 1970)
    ("checkin_to=2027-02-01T00:00:00", "query.checkin_to"),
    ("checkin_from=2027-02-02&checkin_to=2027-02-01", "query"),
    ("category=", "query.category.0"),
    ("&".join(["category=x"] * 21), "query.category"),
    ("ctiy=berlin", "query.ctiy"),
    ("page=2", "query.page"),
]


class TestGetDeal:
    async def test_existing_id_returns_all_fields(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        deal = catalog.deals[0]
        hotel = catalog.hotels[deal.hotel_id]

        response = await client.get(f"/deals/{deal.id}")

        shown = response.json()
        assert shown.pop("created_at") == deal.created_at.isoformat().replace("+00:00", "Z")
        assert shown.pop("updated_at").endswith("Z")
        assert shown == {
            "id": deal.id,
            "external_id": None,
            "hotel_id": hotel.id,
            "room_type": deal.room_type,
            "star_rating": deal.star_rating,
            "price_per_night": f"{deal.price_per_night:.2f}",
            "original_price": "950.00",
            "discount_percent": deal.discount_percent,
            "checkin_date": deal.checkin_date.isoformat(),
            "checkout_date": "2028-01-01",
            "is_available": deal.is_available,
            "categories": deal.categories,
            "version": 1,
            "hotel": {
                "id": hotel.id,
                "name": hotel.name,
                "city": hotel.city,
                "country": hotel.country,
                "phone": hotel.phone,
                "avg_star_rating": float(round(average_stars(catalog, hotel.id), 2)),
            },
        }

    @pytest.mark.parametrize("deal_id", ["999999", str(2**63 - 1)])
    async def test_unknown_id_returns_404(self, client: httpx.AsyncClient, deal_id: str) -> None:
        response = await client.get(f"/deals/{deal_id}")

        assert response.status_code == 404
        assert response.json()["error"]["code"] == "NOT_FOUND"

    @pytest.mark.parametrize("deal_id", ["0", "-1", "abc", str(2**63), "1.5", "%00", "1?fresh=1"])
    async def test_invalid_id_returns_422(self, client: httpx.AsyncClient, deal_id: str) -> None:
        assert (await client.get(f"/deals/{deal_id}")).status_code == 422

    async def test_current_etag_returns_304(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        url = f"/deals/{catalog.deals[0].id}"
        etag = (await client.get(url)).headers["etag"]

        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            response = await client.get(url, headers={"If-None-Match": known})
            assert response.status_code == 304, known
            assert response.headers["etag"] == etag
            assert response.content == b""
        other = await client.get(url, headers={"If-None-Match": '"other"'})
        assert other.status_code == 200


class TestListDeals:
    async def test_no_parameters_returns_first_20_by_id(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        page = (await client.get("/deals")).json()

        assert [deal["id"] for deal in page["items"]] == sorted(d.id for d in catalog.deals)[:20]
        assert {key: page[key] for key in ("total", "skip", "limit")} == {
            "total": len(catalog.deals),
            "skip": 0,
            "limit": 20,
        }

    async def test_next_links_return_whole_list(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        seen: list[int] = []
        url: str | None = "/deals?limit=37&sort=-price_per_night"
        while url:
            response = await client.get(url)
            seen += [deal["id"] for deal in response.json()["items"]]
            assert response.links["first"]["url"].startswith("/deals?")
            url = response.links.get("next", {}).get("url")

        expected = sorted(catalog.deals, key=lambda deal: (-deal.price_per_night, deal.id))
        assert seen == [deal.id for deal in expected]

    async def test_skip_past_end_returns_empty_page_with_total(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        response = await client.get("/deals?skip=100000")

        assert response.json()["items"] == []
        assert response.json()["total"] == len(catalog.deals)
        assert "next" not in response.links

    @pytest.mark.parametrize(
        "narrowed", ["", "city=berlin&", "city=berlin&price_min=1&", "category=luxury&limit=7&"]
    )
    async def test_largest_skip_returns_empty_page_with_total(
        self, client: httpx.AsyncClient, catalog: Catalog, narrowed: str
    ) -> None:
        response = await client.get(f"/deals?{narrowed}skip={2**63 - 1}")

        assert response.status_code == 200
        assert response.json()["items"] == []
        first_page = await client.get(f"/deals?{narrowed}")
        assert response.json()["total"] == first_page.json()["total"] > 0

    @pytest.mark.parametrize("count", ["exact", "estimated", "none"])
    @pytest.mark.parametrize(
        ("query", "predicate"), DEAL_FILTERS, ids=[query for query, _ in DEAL_FILTERS]
    )
    async def test_filter_returns_matching_deals(
        self,
        client: httpx.AsyncClient,
        catalog: Catalog,
        query: str,
        predicate: DealPredicate,
        count: str,
    ) -> None:
        expected = sorted(deal.id for deal in catalog.deals if predicate(deal, catalog))

        found, total = await list_deal_ids(client, f"{query}&count={count}")

        assert found == expected[:100]
        # The catalog is smaller than the sample of an estimate, so the estimate is exact.
        assert total == (None if count == "none" else len(expected))

    async def test_hotel_id_returns_deals_of_hotel(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        hotel_id = catalog.deals[0].hotel_id

        found, total = await list_deal_ids(client, f"hotel_id={hotel_id}")

        assert found == sorted(deal.id for deal in catalog.deals if deal.hotel_id == hotel_id)
        assert total == len(found)
        assert await list_deal_ids(client, "hotel_id=999999") == ([], 0)

    @pytest.mark.parametrize("direction", ["", "-"])
    @pytest.mark.parametrize(
        "field",
        ["id", "price_per_night", "discount_percent", "star_rating", "checkin_date", "created_at"],
    )
    async def test_sort_by_one_field_breaks_ties_by_id(
        self, client: httpx.AsyncClient, catalog: Catalog, field: str, direction: str
    ) -> None:
        by_id = sorted(catalog.deals, key=lambda deal: deal.id)
        expected = sorted(by_id, key=lambda deal: getattr(deal, field), reverse=direction == "-")

        found, _ = await list_deal_ids(client, f"sort={direction}{field}")

        assert found == [deal.id for deal in expected][:100]

    async def test_sort_by_several_fields_returns_that_order(
        self, client: httpx.AsyncClient, catalog: Catalog
    ) -> None:
        expected = sorted(
            catalog.deals, key=lambda deal: (-deal.star_rating, deal.price_per_night, deal.id)
        )

        found, _ = await list_deal_ids(client, "sort=-star_rating,price_per_night")

        assert found == [deal.id for deal in expected][:100]

    @pytest.mark.parametrize(
        ("query", "field"), INVALID_QUERIES, ids=[query[:40] for query, _ in INVALID_QUERIES]
    )
    async def test_invalid_parameter_returns_422_naming_it(
        self, client: httpx.AsyncClient, query: str, field: str
    ) -> None:
        response = await client.get(f"/deals?{query}")

        assert response.status_code == 422
        error = response.json()["error"]
        assert error["code"] == "VALIDATION_ERROR"
        assert error["request_id"] == response.headers["x-request-id"]
        assert [detail["field"] for detail in error["details"]] == [field]
        assert all(detail["message"] for detail in error["details"])

    async def test_many_invalid_parameters_returns_20_details_without_values(
        self,
        client: httpx.AsyncClient,
    ) -> None:
        response = await client.get(
            "/deals?limit=s3cret-value&" + "&".join(f"x{n}=1" for n in range(500))
        )

        assert response.status_code == 422
        assert "s3cret-value" not in response.text
        assert len(response.json()["error"]["details"]) == 20


class TestCityStatistics:
    @pytest.mark.parametrize("available_only", [False, True])
    async def test_prices_and_counts_match_stored_deals(
        self, client: httpx.AsyncClient, catalog: Catalog, available_only: bool
    ) -> None:
        prices: dict[str, list[Decimal]] = {}
        for deal in catalog.deals:
            if deal.is_available or not available_only:
                prices.setdefault(catalog.hotels[deal.hotel_id].city, []).append(
                    deal.price_per_night
                )
        expected: list[dict[str, Any]] = [
            {
                "city": city,
                "avg_price": str(
                    (sum(of_city, Decimal()) / len(of_city)).quantize(
                        Decimal("0.01"), ROUND_HALF_UP
                    )
                ),
                "deal_count": len(of_city),
            }
            for city, of_city in prices.items()
        ]
        expected.sort(key=lambda item: (-item["deal_count"], item["city"]))

        response = await client.get(f"/deals/stats?available_only={available_only}")

        assert response.json() == expected
