"""A Ray cluster on this machine for many stages, which each would take seconds to start their own.

`python -m tasks.local_cluster COMMAND ...` starts one, runs the command with `RAY_ADDRESS` set, and
stops that cluster and no other.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tasks import disk
from tasks.tether import exit_on, tethered

_START_SECONDS = 600


def free_port() -> int:
    """A TCP port of this machine at which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ray_node(*arguments: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A Ray node on this machine, `ray start` with these arguments, that ends with the block.

    Raises:
        RuntimeError: it did not start; with what it wrote.
    """
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments]
    with tempfile.TemporaryDirectory(prefix="ray-node-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output, tethered(start, env=environment, output=output) as node:
            deadline = time.monotonic() + _START_SECONDS
            while b"Ray runtime started" not in log.read_bytes():
                if node.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Ray did not start:\n{log.read_text()}")
                time.sleep(0.05)
            yield node


@contextmanager
def local_cluster() -> Iterator[dict[str, str]]:
    """A local cluster that ends with the block; yields the environment of its clients.

    Raises:
        OSError: its folder is full.
    """
    disk.require_room_for_ray()
    with tempfile.TemporaryDirectory(prefix="ray-token-") as folder:
        token = Path(folder) / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        address = f"127.0.0.1:{free_port()}"
        environment = dict(os.environ) | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_ADDRESS": address,
        }
        host, port = address.split(":")
        start = [
            *("--head", f"--node-ip-address={host}", f"--port={port}"),
            *("--include-dashboard=false", "--disable-usage-stats"),
        ]
        nodes_environment = {k: v for k, v in environment.items() if k != "RAY_ADDRESS"}
        with ray_node(*start, environment=nodes_environment):
            yield environment


def main() -> int:
    command = sys.argv[1:]
    if not command:
        print("usage: python -m tasks.local_cluster COMMAND [ARGUMENT ...]", file=sys.stderr)
        return 2
    if shutil.which(command[0]) is None:
        print(f"error: {command[0]}: no such command", file=sys.stderr)
        return 127
    if os.environ.get("RAY_ADDRESS"):
        return subprocess.call(command)
    exit_on(signal.SIGTERM)
    with (
        disk.telling(),
        local_cluster() as environment,
        tethered(command, env=environment) as running,
    ):
        return running.wait()


if __name__ == "__main__":
    sys.exit(main())
