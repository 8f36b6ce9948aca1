"""A Ray cluster on this machine, which many stages may share."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Lock

from tasks.cluster.fork_request import server
from tasks.processes import disk
from tasks.processes.addresses import answers, free_port
from tasks.processes.patience import on_stderr
from tasks.processes.service import service

_HEAD = Path(__file__).with_name("head.py")
# How long a thread spins at a barrier (some 20 us) before it sleeps: the default slows threads down
# tenfold where cores are shared, no spinning at all by a half where they are not.
WORKER_ENVIRONMENT = {"GOMP_SPINCOUNT": "10000"}
_OF_NODES = {
    **WORKER_ENVIRONMENT,
    # Ray's own limits are those of a machine that does nothing else.
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    # Workers that Ray starts before it knows whose code they will run serve nobody.
    "RAY_prestart_worker_first_driver": "0",
}


def too_slow(written: str) -> bool:
    """Whether a node of Ray has ended because its machine was too busy, going by its output."""
    return "The current node timed out during startup" in written


class LocalCluster:
    """A Ray cluster on this machine that other machines cannot reach; it ends with the block.

    It starts when its environment is asked for, and another one does if it has been lost since.
    Threads may share it.
    """

    def __init__(self, say: Callable[[str], None] = on_stderr) -> None:
        """`say` gets a line where the start takes long or the cluster is lost."""
        self._say = say
        self._turn, self._over = Lock(), Event()
        self._running = ExitStack()
        self._node: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with self._turn:
            self._running.close()

    @property
    def lost(self) -> bool:
        """Whether the cluster that was started has ended by itself."""
        # Its head is gone as soon as any part of it, the program that started it some time later.
        return self._node is not None and not answers(self._environment["RAY_ADDRESS"])

    def environment(self) -> dict[str, str]:
        """What clients of the running cluster need in their environment.

        Raises:
            NotStartedError: there was none, and it did not start.
            OSError: Ray's folder is full.
        """
        with self._turn:
            if self.lost:
                self._say("the Ray cluster on this machine was lost; starting another one")
                self._running.close()
                self._node = None
            if self._node is None:
                self._start()
            return self._environment

    def _start(self) -> None:
        disk.require_room_for_ray()
        port = free_port()
        address = f"127.0.0.1:{port}"
        environment = {
            "RAY_AUTH_MODE": "token",
            # Not in a file, which a killed process would leave behind.
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            # Makes Ray take 127.0.0.1 for what it is, not for an address in the network.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
        others = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self._node = self._running.enter_context(
            service(
                "Ray",
                [sys.executable, "-P", str(_HEAD), str(port), str(free_port()), server(address)],
                env=others | _OF_NODES | environment,
                ready=lambda written: "The node is up." in written,
                again=too_slow,
                say=self._say,
                stop=self._over,
            )
        )
        self._environment = environment | {"RAY_ADDRESS": address}
