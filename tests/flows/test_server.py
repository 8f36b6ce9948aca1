"""Where Prefect's server is not, or somebody else is."""

import socket
import threading
from urllib.request import proxy_bypass_environment

import pytest

from flows import server
from tasks.processes.addresses import free_port


def test_whoever_else_has_taken_the_port_is_not_taken_for_prefect() -> None:
    """A server of gRPC begins to talk in HTTP/2."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def talk() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"\0\0\x18\4\0\0\0\0\0\0\4\0@\0\0\n")

        thread = threading.Thread(target=talk)
        thread.start()
        assert not server._answers(f"http://127.0.0.1:{other.getsockname()[1]}/api/ready")
        thread.join()


def test_nobody_is_not_taken_for_prefect() -> None:
    assert not server._answers(f"http://127.0.0.1:{free_port()}/api/ready")


@pytest.mark.parametrize("spelling", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("given", ["", "example.com", "*"])
def test_this_machine_is_reached_without_a_proxy_and_what_was_still_is(
    given: str, spelling: str
) -> None:
    environment = server.without_proxy_here({spelling: given, "HOME": "/home"})
    assert environment["HOME"] == "/home"
    for name in ("no_proxy", "NO_PROXY"):
        no = {"no": environment[name]}
        assert proxy_bypass_environment("127.0.0.1:4200", no)
        assert proxy_bypass_environment("localhost:4200", no)
        assert bool(proxy_bypass_environment("www.example.com", no)) == (given != "")
        assert bool(proxy_bypass_environment("example.org", no)) == (given == "*")
