"""Requests of the load generators, and answers for the comparison."""

from dataclasses import dataclass
from http.client import HTTPConnection


@dataclass(frozen=True)
class Request:
    """One HTTP request. `path` includes the query."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def raw(self) -> bytes:
        """Return the bytes of the request, equal for every generator and server."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Answer:
    """One response, with the names of its headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(port: int, request: Request) -> Answer:
    """Send one request on a new connection, and return the answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = dict(request.headers)
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        given = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, given, response.read())
    finally:
        connection.close()
