"""TCP addresses."""

import socket

_SECONDS = 5


def free_port() -> int:
    """A port of this machine at which nothing listens now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def probe(address: str) -> None:
    """Connect to `host:port` and hang up.

    Raises:
        ValueError: it is no such address.
        OSError: nobody answers there.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError(f"{address!r} is not allowed; give host:port")
    socket.create_connection((host, int(port)), timeout=_SECONDS).close()


def answers(address: str) -> bool:
    """Whether somebody does at `host:port`."""
    try:
        probe(address)
    except OSError:
        return False
    return True
