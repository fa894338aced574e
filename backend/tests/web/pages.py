"""Parsed pages, and the checks that every page must pass."""

import re
from html.parser import HTMLParser

import httpx

# Elements without an end tag.
_VOID_ELEMENTS = {"link", "meta", "input", "br"}


class _PageParser(HTMLParser):
    """A parser that reports unclosed elements and violations of a strict content policy."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.complaints: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "script" and not names.get("src"):
            self.complaints.append("an inline script")
        self.complaints += [name for name in names if name == "style" or name.startswith("on")]
        for name in ("src", "href", "action"):
            if (address := names.get(name)) is not None:
                self.addresses.append(address)
        if tag not in _VOID_ELEMENTS:
            self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if "main" in self.open:
            self.texts += data.split()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.complaints.append(f"</{tag}>")


def _parse_page(response: httpx.Response) -> _PageParser:
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    reader = _PageParser()
    reader.feed(response.text)
    reader.close()
    assert reader.complaints == []
    assert reader.open == []
    return reader


def linked_urls(response: httpx.Response) -> list[str]:
    """Check the page, and return the addresses of its links and assets."""
    return _parse_page(response).addresses


def main_text(response: httpx.Response) -> str:
    """Return the visible text of a page's main part."""
    return " ".join(_parse_page(response).texts)


def statement_count(response: httpx.Response) -> int:
    """Return the number of SQL statements of a page."""
    match = re.search(r"SQL statements: (\d+)", response.headers["server-timing"])
    assert match is not None
    return int(match[1])
