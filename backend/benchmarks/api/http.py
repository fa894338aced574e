"""A request as the load generators send it, and one answer as the comparison sees it."""

from dataclasses import dataclass
from http.client import HTTPConnection


@dataclass(frozen=True)
class Request:
    """One HTTP request; `path` with its query."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def raw(self) -> bytes:
        """The bytes on the wire, the same for every generator and every server."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Answer:
    """One response; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(port: int, request: Request) -> Answer:
    """Send one request on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = dict(request.headers)
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        given = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, given, response.read())
    finally:
        connection.close()
