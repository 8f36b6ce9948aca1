"""Addresses as users write them."""

import socket

import pytest

from tasks.processes.addresses import answers, free_port, probe


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:²", "127.0.0.1:65536", f":{10**20}"],
)
def test_what_is_no_address_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(ValueError, match=r"^'[^\n]*' is not allowed; give host:port$"):
        probe(address)


@pytest.mark.parametrize(
    ("family", "host", "written"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")],
    ids=["ipv4", "ipv6"],
)
def test_who_listens_answers(family: socket.AddressFamily, host: str, written: str) -> None:
    with socket.create_server((host, 0), family=family) as server:
        assert answers(f"{written}:{server.getsockname()[1]}")


def test_nobody_does_not() -> None:
    assert not answers(f"127.0.0.1:{free_port()}")
