"""Addresses of programs on this machine and others."""

import os
import socket
import struct

_SECONDS = 5
_LAST_PORT = 65535


def free_port() -> int:
    """A port of this machine at which nothing listens now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def probe(address: str) -> None:
    """Connect to `host:port`, or `[host]:port` as IPv6 has it, and hang up.

    Raises:
        ValueError: it is no such address.
        OSError: nobody answers there.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > _LAST_PORT:
        raise ValueError(f"{address!r} is not allowed; give host:port")
    host = host.removeprefix("[").removesuffix("]")
    socket.create_connection((host, int(port)), timeout=_SECONDS).close()


def answers(address: str) -> bool:
    """Whether somebody does at `host:port`."""
    try:
        probe(address)
    except OSError:
        return False
    return True


def is_ours(connection: socket.socket) -> bool:
    """Whether a program of this user is at the other end of a connection within this machine."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.getuid())
