"""`/docs` and `/redoc` as the server sends them. `tests/browser/` opens them in a browser."""

import re

import httpx
import pytest

from app.web.html import POLICY

pytestmark = pytest.mark.api

BOTH_PAGES = pytest.mark.parametrize("path", ["/docs", "/redoc"])


def parse_policy(answer: httpx.Response) -> dict[str, str]:
    parts = answer.headers["content-security-policy"].split("; ")
    return dict(part.split(" ", 1) for part in parts)


@BOTH_PAGES
async def test_reference_page_loads_only_own_assets(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path)

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    addresses = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]*)"', page.text)
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith("/static/")
        assert (await client.get(address)).status_code == 200
    assert re.findall(r"<script[^>]*>\s*[^<\s]", page.text) == []
    assert "<style" not in page.text


async def test_swagger_ui_has_policy_of_all_pages(client: httpx.AsyncClient) -> None:
    assert parse_policy(await client.get("/docs")) == POLICY


async def test_redoc_policy_allows_two_style_hashes(client: httpx.AsyncClient) -> None:
    given = parse_policy(await client.get("/redoc"))

    own, *hashes = given.pop("style-src").split()
    assert own == POLICY["style-src"]
    assert len(hashes) == 2
    assert all(re.fullmatch(r"'sha256-[\w+/]{43}='", each) for each in hashes)
    assert given == {name: value for name, value in POLICY.items() if name != "style-src"}


@BOTH_PAGES
async def test_reference_page_query_string_is_ignored(client: httpx.AsyncClient, path: str) -> None:
    hostile = await client.get(path, params={"url": "https://example.com/x", "configUrl": "//x"})

    assert hostile.content == (await client.get(path)).content


@BOTH_PAGES
async def test_reference_page_post_returns_405(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200
    assert (await client.post(path)).status_code == 405
