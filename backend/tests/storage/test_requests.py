"""From a request to the storage, without a network."""

import gzip
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.storage.places import FolderPlace
from tests.storage.service import service

from app.core.config import Settings

pytestmark = pytest.mark.api

CSV = b'id,name\r\n1,"O\'Hara\r\n--x\r\n--boundary\r\n"\r\n\r\n'
LIMIT = 100_000
# Every way to cut a body in two, in three, and byte by byte.
SIZES = [1, 2, 3, 7, 64, 1 << 16]


@pytest.fixture
def place(in_folder: Settings) -> FolderPlace:
    return FolderPlace(in_folder.data_dir / "uploads")


@pytest.fixture
async def client(in_folder: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = service(in_folder.model_copy(update={"max_upload_bytes": LIMIT}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def form(*parts: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    """A multipart body of these parts: each is its headers, without the last line end, and more."""
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
    return await client.post("/imports", content=cut(body, size), headers=named)


async def post_form(client: httpx.AsyncClient, body: bytes, size: int = 1 << 16) -> httpx.Response:
    return await client.post("/imports", content=cut(body, size), headers=FORM)


def assert_refused(response: httpx.Response, place: FolderPlace, status: int, words: str) -> None:
    error = response.json()["error"]
    assert (response.status_code, words in error["message"]) == (status, True), error
    assert error["request_id"]
    assert place.files() == place.leftovers() == []


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
async def test_a_file_can_be_the_body(client: httpx.AsyncClient, media_type: str) -> None:
    response = await post(client, CSV, 5, Content_Type=media_type)

    assert response.json() == {
        "name": None,
        "bytes": len(CSV),
        "sha256": hashlib.sha256(CSV).hexdigest(),
    }


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
async def test_a_compressed_body_is_stored_compressed(
    client: httpx.AsyncClient, in_folder: Settings, encoding: str
) -> None:
    body = gzip.compress(CSV)
    response = await post(client, body, Content_Type="text/csv", Content_Encoding=encoding)

    assert response.json()["bytes"] == len(body)
    assert (in_folder.data_dir / "uploads" / "name.upload").read_bytes() == body


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("end", [b"--", b"--\r\n", b"--\r\nan epilogue\r\n--limit\r\n"])
async def test_a_file_can_be_in_a_form(client: httpx.AsyncClient, size: int, end: bytes) -> None:
    response = await post_form(client, form((FILE, CSV), end=end), size)

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
async def test_what_looks_like_a_boundary_is_content(
    client: httpx.AsyncClient, content: bytes, size: int
) -> None:
    response = await post_form(client, form((FILE, content)), size)

    assert response.json()["sha256"] == hashlib.sha256(content).hexdigest()


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
async def test_the_name_of_a_file_is_made_harmless(
    client: httpx.AsyncClient, filename: str, name: str | None
) -> None:
    headers = f'Content-Disposition: form-data; name="file"; filename={filename}'
    assert (await post_form(client, form((headers, CSV)))).json()["name"] == name

    disposition = f"attachment; filename={filename}".encode()
    given = {"Content-Type": "text/csv", "Content-Disposition": disposition}
    response = await client.post("/imports", content=CSV, headers=given)  # type: ignore[arg-type]
    assert response.json()["name"] == name


ONE_PART = "one part only"


@pytest.mark.parametrize("size", [1, 1 << 16])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form((FIELD, CSV)), ONE_PART),
        (form((FIELD, b"x"), (FILE, CSV)), ONE_PART),
        (form((FILE, CSV), (FIELD, b"x")), ONE_PART),
        (form((FILE, CSV), (FILE, CSV)), ONE_PART),
        (form(*[(FIELD, b"")] * 5000), ONE_PART),
        (form((FILE.replace("form-data", "attachment"), CSV)), ONE_PART),
        (form(("Content-Type: text/csv", CSV)), ONE_PART),
        (form((f"{FILE}\r\nContent-Transfer-Encoding: base64", CSV)), "transfer encoding"),
        (form((f"{FILE}\r\nX: {'x' * 10_000}", CSV)), "not a valid"),
        (form((f"{FILE}{''.join(f'{chr(13)}{chr(10)}X{n}: x' for n in range(50))}", CSV)), "valid"),
        (form((f"{FILE}\r\n{'x' * 10_000}", CSV)), "not a valid"),
        (form((FILE, b"")), "empty"),
        (form((FILE, CSV), end=b""), "no end boundary"),
        (form((FILE, CSV), end=b"-"), "no end boundary"),
        (form((FILE, CSV))[:80], "cut off"),
        (form((FILE, CSV))[:40], "no part"),
        (b"--limit--\r\n", "no part"),
        (b"id,name\r\n", "not a valid"),
        (b"", "no part"),
        (b"\r\n" * 10_000, "no part"),
    ],
)
async def test_a_form_that_is_not_one_file_is_refused(
    client: httpx.AsyncClient, place: FolderPlace, body: bytes, words: str, size: int
) -> None:
    assert_refused(await post_form(client, body, size), place, 422, words)


@pytest.mark.parametrize(
    "boundary", ["", "; boundary=", f"; boundary={'x' * 71}", '; boundary="\\""']
)
async def test_a_form_needs_a_boundary(
    client: httpx.AsyncClient, place: FolderPlace, boundary: str
) -> None:
    response = await post(client, form((FILE, CSV)), Content_Type=f"multipart/form-data{boundary}")

    assert_refused(response, place, 422, "boundary")


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
async def test_another_format_is_415(
    client: httpx.AsyncClient, place: FolderPlace, headers: dict[str, str]
) -> None:
    assert_refused(await post(client, CSV, 9, **headers), place, 415, "")


async def test_an_empty_file_is_refused(client: httpx.AsyncClient, place: FolderPlace) -> None:
    assert_refused(await post(client, b"", Content_Type="text/csv"), place, 422, "empty")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_file_over_the_limit_is_413_and_not_kept(
    client: httpx.AsyncClient, place: FolderPlace, declared: bool
) -> None:
    headers = {"Content-Type": "text/csv"}
    whole = bytes(LIMIT + 1)
    content = whole if declared else cut(whole, 5000)

    response = await client.post("/imports", content=content, headers=headers)

    assert_refused(response, place, 413, "")
    assert (await post(client, whole[1:], Content_Type="text/csv")).status_code == 200


@pytest.mark.parametrize("difference", [-1, 1])
async def test_a_body_of_another_length_than_declared_is_not_whole(
    client: httpx.AsyncClient, place: FolderPlace, difference: int
) -> None:
    declared = {"Content-Type": "text/csv", "Content-Length": str(len(CSV) + difference)}

    response = await client.post("/imports", content=cut(CSV, 9), headers=declared)

    assert_refused(response, place, 422, "Content-Length")


async def test_a_storage_that_fails_is_503(in_folder: Settings) -> None:
    (in_folder.data_dir).mkdir()
    (in_folder.data_dir / "uploads").touch()
    transport = httpx.ASGITransport(service(in_folder))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await post(client, CSV, Content_Type="text/csv")

    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["error"]["code"] == "STORAGE_UNAVAILABLE"
    assert str(in_folder.data_dir) not in response.text
