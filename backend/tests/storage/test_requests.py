"""The path from a request to the storage, without a network."""

import gzip
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.storage.probes import FolderProbe
from tests.storage.service import service

from app.core.config import Settings

pytestmark = pytest.mark.api

CSV = b'id,name\r\n1,"O\'Hara\r\n--x\r\n--boundary\r\n"\r\n\r\n'
LIMIT = 100_000
# Every cut of a body into two pieces, into three, and into single bytes.
SIZES = [1, 2, 3, 7, 64, 1 << 16]


@pytest.fixture
def probe(folder_settings: Settings) -> FolderProbe:
    return FolderProbe(folder_settings.data_dir / "uploads")


@pytest.fixture
async def client(folder_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = service(folder_settings.model_copy(update={"max_upload_bytes": LIMIT}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def split_body(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def multipart_body(*parts: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    """Return a multipart body. Each part is its headers, without the last line end, and content."""
    whole = b"".join(
        b"--limit\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"
        for headers, content in parts
    )
    return whole + b"--limit" + end


FORM = {"Content-Type": "multipart/form-data; boundary=limit"}
FILE = 'Content-Disposition: form-data; name="file"; filename="deals.csv"'
FIELD = 'Content-Disposition: form-data; name="field"'


async def post(
    client: httpx.AsyncClient, body: bytes, size: int = 1 << 16, **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/imports", content=split_body(body, size), headers=named)


async def post_form(client: httpx.AsyncClient, body: bytes, size: int = 1 << 16) -> httpx.Response:
    return await client.post("/imports", content=split_body(body, size), headers=FORM)


def assert_error(response: httpx.Response, probe: FolderProbe, status: int, words: str) -> None:
    error = response.json()["error"]
    assert (response.status_code, words in error["message"]) == (status, True), error
    assert error["request_id"]
    assert probe.files() == probe.leftovers() == []


ONE_PART = "one part only"


class TestRawBody:
    @pytest.mark.parametrize(
        "media_type",
        [
            "text/csv",
            "TEXT/CSV; charset=utf-8",
            "application/csv",
            "application/gzip",
            "application/x-gzip",
            "application/octet-stream",
        ],
    )
    async def test_csv_media_type_stores_file(
        self, client: httpx.AsyncClient, media_type: str
    ) -> None:
        response = await post(client, CSV, 5, Content_Type=media_type)

        assert response.json() == {
            "name": None,
            "bytes": len(CSV),
            "sha256": hashlib.sha256(CSV).hexdigest(),
        }

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
    async def test_compressed_body_is_stored_compressed(
        self, client: httpx.AsyncClient, folder_settings: Settings, encoding: str
    ) -> None:
        body = gzip.compress(CSV)
        response = await post(client, body, Content_Type="text/csv", Content_Encoding=encoding)

        assert response.json()["bytes"] == len(body)
        assert (folder_settings.data_dir / "uploads" / "name.upload").read_bytes() == body

    async def test_empty_file_returns_422(
        self, client: httpx.AsyncClient, probe: FolderProbe
    ) -> None:
        assert_error(await post(client, b"", Content_Type="text/csv"), probe, 422, "empty")


class TestForm:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("end", [b"--", b"--\r\n", b"--\r\nan epilogue\r\n--limit\r\n"])
    async def test_file_part_is_stored(
        self, client: httpx.AsyncClient, size: int, end: bytes
    ) -> None:
        response = await post_form(client, multipart_body((FILE, CSV), end=end), size)

        assert response.json() == {
            "name": "deals.csv",
            "bytes": len(CSV),
            "sha256": hashlib.sha256(CSV).hexdigest(),
        }

    @pytest.mark.parametrize(
        "content",
        [
            b"\r\n--limi",
            b"\r\n--limi\r\n--limi\r\n-",
            b"\r\r\n\r\n--limi\r",
            b"--limit",
            b"\n--limit\n",
            b"\r\n--Limit\r\n",
            bytes(range(256)),
        ],
    )
    @pytest.mark.parametrize("size", SIZES)
    async def test_boundary_like_content_is_stored(
        self, client: httpx.AsyncClient, content: bytes, size: int
    ) -> None:
        response = await post_form(client, multipart_body((FILE, content)), size)

        assert response.json()["sha256"] == hashlib.sha256(content).hexdigest()

    @pytest.mark.parametrize("size", [1, 1 << 16])
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (multipart_body((FIELD, CSV)), ONE_PART),
            (multipart_body((FIELD, b"x"), (FILE, CSV)), ONE_PART),
            (multipart_body((FILE, CSV), (FIELD, b"x")), ONE_PART),
            (multipart_body((FILE, CSV), (FILE, CSV)), ONE_PART),
            (multipart_body(*[(FIELD, b"")] * 5000), ONE_PART),
            (multipart_body((FILE.replace("form-data", "attachment"), CSV)), ONE_PART),
            (multipart_body(("Content-Type: text/csv", CSV)), ONE_PART),
            (
                multipart_body((f"{FILE}\r\nContent-Transfer-Encoding: base64", CSV)),
                "transfer encoding",
            ),
            (multipart_body((f"{FILE}\r\nX: {'x' * 10_000}", CSV)), "not a valid"),
            (
                multipart_body(
                    (f"{FILE}{''.join(f'{chr(13)}{chr(10)}X{n}: x' for n in range(50))}", CSV)
                ),
                "valid",
            ),
            (multipart_body((f"{FILE}\r\n{'x' * 10_000}", CSV)), "not a valid"),
            (multipart_body((FILE, b"")), "empty"),
            (multipart_body((FILE, CSV), end=b""), "no end boundary"),
            (multipart_body((FILE, CSV), end=b"-"), "no end boundary"),
            (multipart_body((FILE, CSV))[:80], "cut off"),
            (multipart_body((FILE, CSV))[:40], "no part"),
            (b"--limit--\r\n", "no part"),
            (b"id,name\r\n", "not a valid"),
            (b"", "no part"),
            (b"\r\n" * 10_000, "no part"),
        ],
    )
    async def test_other_than_one_file_returns_422(
        self, client: httpx.AsyncClient, probe: FolderProbe, body: bytes, words: str, size: int
    ) -> None:
        assert_error(await post_form(client, body, size), probe, 422, words)

    @pytest.mark.parametrize(
        "boundary", ["", "; boundary=", f"; boundary={'x' * 71}", '; boundary="\\""']
    )
    async def test_missing_boundary_returns_422(
        self, client: httpx.AsyncClient, probe: FolderProbe, boundary: str
    ) -> None:
        response = await post(
            client, multipart_body((FILE, CSV)), Content_Type=f"multipart/form-data{boundary}"
        )

        assert_error(response, probe, 422, "boundary")


class TestAnyBody:
    @pytest.mark.parametrize(
        ("filename", "name"),
        [
            ("deals.csv", "deals.csv"),
            ('"deals; 1.csv"', "deals; 1.csv"),
            ('"a \\"quoted\\".csv"', 'a "quoted".csv'),
            ('"C:\\\\Users\\\\me\\\\deals.csv"', "deals.csv"),
            ('"../../etc/passwd"', "passwd"),
            ('"Z\u00fcrich.csv"', "Z\u00fcrich.csv"),
            ('"a\tb\x00c\x1b[31m\u202egnp.csv"', "abc[31mgnp.csv"),
            (f'"{"x" * 300}"', "x" * 255),
            ('" "', None),
            ('""', None),
            ('"folder/"', None),
        ],
    )
    async def test_unsafe_name_is_sanitized(
        self, client: httpx.AsyncClient, filename: str, name: str | None
    ) -> None:
        headers = f'Content-Disposition: form-data; name="file"; filename={filename}'
        assert (await post_form(client, multipart_body((headers, CSV)))).json()["name"] == name

        disposition = f"attachment; filename={filename}".encode()
        given = {"Content-Type": "text/csv", "Content-Disposition": disposition}
        response = await client.post("/imports", content=CSV, headers=given)  # type: ignore[arg-type]
        assert response.json()["name"] == name

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Content_Type": ""},
            {"Content_Type": "application/json"},
            {"Content_Type": "multipart/mixed; boundary=limit"},
            {"Content_Type": "text/csv", "Content_Encoding": "br"},
            {"Content_Type": "text/csv", "Content_Encoding": "gzip, gzip"},
            {"Content_Type": FORM["Content-Type"], "Content_Encoding": "gzip"},
        ],
    )
    async def test_unsupported_format_returns_415(
        self, client: httpx.AsyncClient, probe: FolderProbe, headers: dict[str, str]
    ) -> None:
        assert_error(await post(client, CSV, 9, **headers), probe, 415, "")

    @pytest.mark.parametrize("declared", [True, False])
    async def test_file_over_limit_returns_413_and_is_not_kept(
        self, client: httpx.AsyncClient, probe: FolderProbe, declared: bool
    ) -> None:
        headers = {"Content-Type": "text/csv"}
        whole = bytes(LIMIT + 1)
        content = whole if declared else split_body(whole, 5000)

        response = await client.post("/imports", content=content, headers=headers)

        assert_error(response, probe, 413, "")
        assert (await post(client, whole[1:], Content_Type="text/csv")).status_code == 200

    @pytest.mark.parametrize("difference", [-1, 1])
    async def test_wrong_content_length_returns_422(
        self, client: httpx.AsyncClient, probe: FolderProbe, difference: int
    ) -> None:
        declared = {"Content-Type": "text/csv", "Content-Length": str(len(CSV) + difference)}

        response = await client.post("/imports", content=split_body(CSV, 9), headers=declared)

        assert_error(response, probe, 422, "Content-Length")

    async def test_unavailable_storage_returns_503(self, folder_settings: Settings) -> None:
        (folder_settings.data_dir).mkdir()
        (folder_settings.data_dir / "uploads").touch()
        transport = httpx.ASGITransport(service(folder_settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            response = await post(client, CSV, Content_Type="text/csv")

        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert response.json()["error"]["code"] == "STORAGE_UNAVAILABLE"
        assert str(folder_settings.data_dir) not in response.text
