import httpx
import pytest
from structlog.testing import capture_logs

pytestmark = pytest.mark.api


async def access_line(client: httpx.AsyncClient, path: str, **headers: str) -> dict[str, object]:
    with capture_logs() as lines:
        await client.get(path, headers=headers)
    [line] = [line for line in lines if line["event"] == "request"]
    return dict(line)


async def test_a_request_is_one_line_with_the_route_template(client: httpx.AsyncClient) -> None:
    line = await access_line(client, "/deals/1?fields=x", **{"X-Request-ID": "abc"})

    assert line["route"] == "/deals/{deal_id}"
    assert line["method"] == "GET"
    assert line["status"] == 422
    assert line["request_id"] == "abc"
    assert isinstance(line["duration_ms"], float)


async def test_an_unknown_path_has_no_route_and_is_not_logged(client: httpx.AsyncClient) -> None:
    line = await access_line(client, "/secret-token-in-path")

    assert line["route"] is None
    assert "secret-token-in-path" not in str(line)


@pytest.mark.parametrize(
    ("path", "statements"),
    [
        ("/health", 1),
        ("/deals", 1),
        ("/deals?skip=100000", 1),
        ("/deals?count=estimated&price_min=5", 1),
        ("/deals?count=none&sort=-price_per_night", 1),
        ("/deals?city=berlin&min_stars=1&price_min=1&price_max=900&category=beach&q=b", 1),
        ("/deals/stats", 1),
        ("/deals/1", 1),
        ("/hotels", 1),
        ("/hotels?q=a&city=berlin", 1),
        ("/hotels/1", 1),
        ("/categories", 1),
        ("/deals?limit=0", 0),
        ("/nothing", 0),
    ],
)
async def test_every_read_is_one_statement(
    client: httpx.AsyncClient, path: str, statements: int
) -> None:
    line = await access_line(client, path)

    assert line["sql_statements"] == statements
    assert (line["sql_ms"] != 0) == (statements > 0)
