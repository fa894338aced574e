"""The assets of pages."""

import gzip
import zlib
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest

from app.web import assets
from app.web.assets import asset

pytestmark = pytest.mark.api

HTMX = "htmx.org/htmx.min.js"
VENDOR = Path(assets.__file__).parent / "vendor"


async def test_asset_at_hashed_address_is_immutable(client: httpx.AsyncClient) -> None:
    answer = await client.get(asset(HTMX))

    assert answer.status_code == 200
    assert answer.content == (VENDOR / HTMX).read_bytes()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.8"])
async def test_asset_accept_encoding_gzip_returns_gzip(
    client: httpx.AsyncClient, accepted: str
) -> None:
    async with client.stream("GET", asset(HTMX), headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join([piece async for piece in answer.aiter_raw()])

    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(raw) == (VENDOR / HTMX).read_bytes()


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_asset_etag_of_client_returns_304(client: httpx.AsyncClient, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    etag = (await client.get(asset(HTMX), headers=headers)).headers["etag"]

    answer = await client.get(asset(HTMX), headers={**headers, "If-None-Match": etag})

    assert answer.status_code == 304
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["vary"] == "Accept-Encoding"


async def test_asset_encodings_have_different_etags(client: httpx.AsyncClient) -> None:
    answers = [
        await client.get(asset(HTMX), headers={"Accept-Encoding": encoding})
        for encoding in ("gzip", "identity")
    ]

    assert len({answer.headers["etag"] for answer in answers}) == 2
    assert len({answer.headers["content-type"] for answer in answers}) == 1


async def test_asset_is_compressed_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Accept-Encoding": "gzip"}
    first = await client.get(asset(HTMX), headers=headers)
    monkeypatch.setattr(zlib, "compressobj", Mock(side_effect=AssertionError))
    monkeypatch.setattr(gzip, "compress", Mock(side_effect=AssertionError))

    assert (await client.get(asset(HTMX), headers=headers)).content == first.content


async def test_asset_range_returns_part(client: httpx.AsyncClient) -> None:
    headers = {"Accept-Encoding": "identity", "Range": "bytes=0-9"}
    answer = await client.get(asset(HTMX), headers=headers)

    assert answer.status_code == 206
    assert answer.content == (VENDOR / HTMX).read_bytes()[:10]


async def test_asset_head_returns_headers_only(client: httpx.AsyncClient) -> None:
    answer = await client.head(asset(HTMX), headers={"Accept-Encoding": "identity"})

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == (VENDOR / HTMX).stat().st_size
    assert answer.content == b""


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "br"])
async def test_asset_accept_encoding_without_gzip_returns_plain(
    client: httpx.AsyncClient, accepted: str
) -> None:
    answer = await client.get(asset(HTMX), headers={"Accept-Encoding": accepted})

    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == (VENDOR / HTMX).stat().st_size


@pytest.mark.parametrize(
    "address",
    [
        "",
        HTMX,
        f"000000000000/{HTMX}",
        f"{asset(HTMX).split('/')[2]}/../../assets.py",
        f"{asset(HTMX).split('/')[2]}/%2e%2e/assets.py",
        "%00",
        asset(HTMX).removeprefix("/static/").replace("htmx.min.js", "LICENSE"),
    ],
)
async def test_asset_unknown_address_returns_404(client: httpx.AsyncClient, address: str) -> None:
    answer = await client.get(f"/static/{address}")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"


async def test_asset_post_returns_405(client: httpx.AsyncClient) -> None:
    answer = await client.post(asset(HTMX))

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_asset_unknown_name_raises_lookup_error() -> None:
    with pytest.raises(LookupError):
        asset("nothing.js")


def test_vendor_packages_have_license() -> None:
    for package in VENDOR.iterdir():
        assert list(package.glob("LICENSE*")), package
