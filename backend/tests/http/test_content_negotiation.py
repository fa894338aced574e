import pytest

from app.http.content_negotiation import MediaType, best_media_type, takes_gzip

pytestmark = pytest.mark.unit

CSV = MediaType("text/csv", {"charset": "utf-8", "header": "present"})
LINES = MediaType("application/x-ndjson", {"charset": "utf-8"})


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", CSV),
        ("*/*", CSV),
        ("nonsense;q=x", CSV),
        ("TEXT/CSV", CSV),
        ("application/x-ndjson", LINES),
        ("application/x-ndjson, text/csv", CSV),
        ("application/x-ndjson, text/csv;q=0.9", LINES),
        ("*/*;q=0.1, application/x-ndjson;q=0.2", LINES),
        # The more specific range wins, at any position and with any quality of the other.
        ("*/*, text/csv;q=0", LINES),
        ("text/*;q=0, */*", LINES),
        ("text/*;q=0, text/csv;q=0.1", CSV),
        ("text/csv;q=0.1, text/csv;charset=utf-8;q=0.9, application/*;q=0.5", CSV),
        ('text/csv; charset="UTF-8"', CSV),
        ("text/csv ; header=absent, application/x-ndjson;q=0.1", LINES),
        ("text/csv;q=2, application/x-ndjson;q=0.001", LINES),
        ("application/json", None),
        ("text/csv;q=0.000", None),
        ("*/*;q=0", None),
        ("text/html, image/*;q=0.8", None),
    ],
)
def test_best_media_type_accept_header_returns_preferred(
    accept: str, chosen: MediaType | None
) -> None:
    assert best_media_type(accept, [CSV, LINES]) is chosen


@pytest.mark.parametrize(
    ("accept_encoding", "compressed"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("x-gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("*", True),
        ("*, gzip;q=0", False),
        ("gzip;q=0", False),
        ("gzip;q=0.5, identity", False),
        ("gzip, identity;q=0.5", True),
        ("br, deflate", False),
        ("identity;q=0", False),
    ],
)
def test_takes_gzip_follows_accept_encoding(accept_encoding: str, compressed: bool) -> None:
    assert takes_gzip(accept_encoding) is compressed
