"""One Ray cluster for all stages that a DVC process runs, which each would start their own.

The first stage of it starts this program, `python -m tasks.cluster.kept PROCESS SOCKET`, which has
the cluster and ends with DVC, however that one ends. Stages ask it for their environment at a
socket that is named after the DVC process; nothing of all this is in a file.
"""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from tasks.cluster.local import LocalCluster
from tasks.processes import disk, dvc
from tasks.processes.addresses import is_ours
from tasks.processes.patience import on_stderr
from tasks.processes.service import NotStartedError


def _address(process: int) -> str:
    return f"\0atcnn-cluster-{process}-{dvc.started(process)}"


def _start(process: int) -> None:
    """Start the program that keeps the cluster, unless it runs."""
    with socket.socket(socket.AF_UNIX) as listener, suppress(OSError):
        # Taken, if there is one.
        listener.bind(_address(process))
        listener.listen()
        dvc_ends = os.pidfd_open(process)
        descriptors = (dvc_ends, listener.fileno())
        subprocess.Popen(
            [sys.executable, "-m", "tasks.cluster.kept", *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(dvc_ends)


def _answered(connection: socket.socket) -> dict[str, str]:
    with connection.makefile() as answers:
        if not is_ours(connection):
            raise NotStartedError("another user keeps the Ray cluster of this run")
        for line in answers:
            kind, answer = json.loads(line)
            if kind == "environment":
                return answer
            if kind == "error":
                raise NotStartedError(answer)
            if kind == "full":
                raise disk.full(Path(answer))
            on_stderr(answer)
    raise NotStartedError("the program that keeps the Ray cluster of this run has ended")


def environment(*, start: bool = True) -> dict[str, str] | None:
    """What clients of the cluster need in their environment; None for a stage without DVC.

    Args:
        start: the cluster if there is none yet; None is returned otherwise.

    Raises:
        NotStartedError: there was no cluster, and it did not start.
        OSError: Ray's folder is full.
    """
    process = dvc.running()
    if process is None:
        return None
    if start:
        _start(process)
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(_address(process))
        except ConnectionRefusedError:
            if start:
                raise
            return None
        return _answered(connection)


def _answer(cluster: LocalCluster, say: Callable[[str, Any], None]) -> None:
    try:
        say("environment", cluster.environment())
    except NotStartedError as error:
        say("error", str(error))
    except OSError as error:
        if disk.is_full(error):
            say("full", str(error.filename))
        else:
            say("error", f"Ray has not started: {error}")


def _serve(listener: socket.socket) -> None:
    connection: socket.socket

    def say(kind: str, answer: Any) -> None:
        # Whoever has asked may have ended.
        with suppress(OSError):
            connection.sendall(json.dumps([kind, answer]).encode() + b"\n")

    with LocalCluster(lambda line: say("line", line)) as cluster:
        while True:
            connection, _ = listener.accept()
            with connection:
                if is_ours(connection):
                    _answer(cluster, say)


def main(process: str, descriptor: str) -> None:
    listener = socket.socket(fileno=int(descriptor))
    Thread(target=_serve, args=(listener,), daemon=True).start()
    select.select([int(process)], [], [])


if __name__ == "__main__":
    main(*sys.argv[1:])
