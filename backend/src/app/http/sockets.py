"""Listening sockets of the servers."""

import errno
import socket
import sys

from app.core.errors import ConfigurationError

# Maximum number of connections that wait to be accepted. The kernel's limit may be lower.
_BACKLOG = 2048
# Errors for an address that the machine does not have, such as ::1 without IPv6.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


# The maximum of Linux's TCP_USER_TIMEOUT, in milliseconds.
_LONGEST_STALL = 2**31 - 1


def listen(
    host: str, port: int, setting: str, *, shared: bool = False, stall_timeout: float | None = None
) -> list[socket.socket]:
    """Listen on each address of `host`, so that clients can connect before the server starts.

    With `shared`, other processes of the service can listen on the same port. On Linux the kernel
    ends the connection of a client that reads no pending data for `stall_timeout` seconds.

    Raises:
        ConfigurationError: the service cannot listen on this address. The message names `setting`.
    """
    found: list[socket.socket] = []
    missing: OSError | None = None
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # Remove duplicates: /etc/hosts may list a name twice.
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
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port with {setting}"
        ) from None
    return found


def base_url(host: str, port: int) -> str:
    """Return the URL of a server, with an IPv6 address in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen_there(
    listening: socket.socket, address: object, *, shared: bool, stall_timeout: float | None
) -> None:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if stall_timeout is not None and sys.platform == "linux":
        # Accepted connections inherit this option.
        milliseconds = max(1, min(int(stall_timeout * 1000), _LONGEST_STALL))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    if listening.family == socket.AF_INET6:
        # Disable IPv4-mapped addresses, because FORWARDED_ALLOW_IPS lists plain IPv4 addresses.
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listening.bind(address)  # type: ignore[arg-type]
    listening.listen(_BACKLOG)


def require_free_port(host: str, port: int, setting: str = "--port") -> None:
    """Check that a command can listen on a port, before the command does other work.

    Raises:
        ConfigurationError: the service cannot listen on this address.
    """
    for listening in listen(host, port, setting):
        listening.close()
