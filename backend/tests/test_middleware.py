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
