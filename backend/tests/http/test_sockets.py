"""Listening sockets, and the errors of addresses that cannot be used."""

import errno
import socket
import sys

import pytest
from tests.support.servers import free_port
from tests.support.timeouts import TIMEOUT

from app.core.errors import ConfigurationError
from app.http.sockets import base_url, listen, require_free_port

pytestmark = pytest.mark.unit


def test_listen_connection_before_accept_waits() -> None:
    port = free_port()
    (listening,) = listen("127.0.0.1", port, "--port")
    with listening, socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client:
        taken, address = listening.accept()
        with taken:
            assert address == client.getsockname()


def test_listen_host_name_binds_all_local_addresses() -> None:
    sockets = listen("localhost", free_port(), "--port")
    addresses = {each.getsockname()[0] for each in sockets}
    for each in sockets:
        each.close()

    assert "127.0.0.1" in addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_listen_duplicate_address_is_bound_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An /etc/hosts may name localhost in two of its lines."""
    port = free_port()
    found = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found * 2)
    (listening,) = listen("localhost", port, "--port")
    listening.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_listen_ipv6_address_refuses_ipv4() -> None:
    """Otherwise IPv4 clients would have IPv6 addresses, which match no configured network."""
    port = free_port()
    try:
        (listening,) = listen("::", port, "--port")
    except ConfigurationError as error:
        pytest.skip(str(error))
    with listening, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends connections that stall")
def test_listen_stall_timeout_is_inherited_by_accepted_connections() -> None:
    port = free_port()
    (listening,) = listen("127.0.0.1", port, "--port", stall_timeout=1.5)
    with listening, socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT):
        taken, _ = listening.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1500


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends connections that stall")
def test_listen_stall_timeout_ends_connection_that_reads_nothing() -> None:
    port = free_port()
    (listening,) = listen("127.0.0.1", port, "--port", stall_timeout=0.5)
    with listening, socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT):
        taken, _ = listening.accept()
        # More bytes than the buffers hold.
        with taken, pytest.raises(TimeoutError) as ended:
            taken.sendall(bytes(64 * 1024 * 1024))

    assert ended.value.errno == errno.ETIMEDOUT


def test_require_free_port_taken_raises_configuration_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = (
            f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another port with X"
        )
        with pytest.raises(ConfigurationError) as refused:
            require_free_port("127.0.0.1", port, "X")

    assert str(refused.value) == said


def test_listen_foreign_address_raises_configuration_error() -> None:
    # An address for documentation (RFC 5737), foreign to every machine.
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:1: Cannot"):
        listen("192.0.2.1", 1, "--host")


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")]
)
def test_base_url_host_is_formatted(host: str, address: str) -> None:
    assert base_url(host, 80) == address
