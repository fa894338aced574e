"""Sockets that a server listens on."""

import errno
import socket
import sys

from app.core.errors import ConfigurationError

# Who has connected and waits to be taken; the kernel may allow less.
_BACKLOG = 2048
# An address of a name that this machine does not have, such as ::1 without IPv6.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


# The most milliseconds that Linux takes for TCP_USER_TIMEOUT.
_LONGEST_STALL = 2**31 - 1


def listen(
    host: str, port: int, setting: str, *, shared: bool = False, stall_timeout: float | None = None
) -> list[socket.socket]:
    """Listen on each address of the host; clients that connect before the server starts wait.

    With `shared`, other processes of the service may listen there. After `stall_timeout` seconds
    in which a client takes nothing of what it is sent, Linux ends its connection.

    Raises:
        ConfigurationError: nothing can listen there; `setting` says where to choose another.
    """
    found: list[socket.socket] = []
    missing: OSError | None = None
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name that is in /etc/hosts twice has its address twice.
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            listening = socket.socket(family, kind, protocol)
            found.append(listening)
            try:
                _listen_there(listening, address, shared=shared, stall_timeout=stall_timeout)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                found.pop().close()
        if missing is not None and not found:
            raise missing
    except OSError as error:
        for listening in found:
            listening.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with {setting}"
        ) from None
    return found


def base_url(host: str, port: int) -> str:
    """What to type into a browser."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen_there(
    listening: socket.socket, address: object, *, shared: bool, stall_timeout: float | None
) -> None:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if stall_timeout is not None and sys.platform == "linux":
        # The sockets of accepted connections inherit it.
        milliseconds = max(1, min(int(stall_timeout * 1000), _LONGEST_STALL))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    if listening.family == socket.AF_INET6:
        # Clients of IPv4 have addresses of IPv4, by which proxies are known.
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listening.bind(address)  # type: ignore[arg-type]
    listening.listen(_BACKLOG)


def require_free_port(host: str, port: int, setting: str = "--port") -> None:
    """Fail before the work that leads up to serving, not after it.

    Raises:
        ConfigurationError: nothing can listen there.
    """
    for listening in listen(host, port, setting):
        listening.close()
