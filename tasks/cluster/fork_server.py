"""`python fork_server.py DESCRIPTOR`: where the workers of a node of Ray come from.

This process has imported what they need, which takes many seconds, and makes a copy of itself for
each request at the listening socket. A worker is ready in a fraction of a second, and as new as any
other: the project's own code is not imported here, a worker gets it with its first task.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
from importlib import import_module

from ray._private.runtime_env.context import RuntimeEnvContext
from ray._private.utils import update_envs

# What takes workers longest to import, that which all of them need first.
_MODULES = (
    "ray._private.workers.default_worker",
    "pyarrow.parquet",
    "PIL.Image",
    "torch",
    "safetensors.torch",
    "captum.attr",
    "torchvision",
    "pydantic",
    "rich.progress",
)
_BYTES = 1 << 16


def _is_ours(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.getuid())


def _request(connection: socket.socket) -> tuple[dict[str, str], list[str]]:
    """Environment and arguments of a worker, whose output this process then has."""
    data, outputs, *_ = socket.recv_fds(connection, _BYTES, 2)
    while more := connection.recv(_BYTES):
        data += more
    for number, descriptor in enumerate(outputs, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    environment, arguments = json.loads(data)
    return environment, arguments


def _forked(listener: socket.socket) -> tuple[dict[str, str], list[str]]:
    """Serve for ever; what returns is a child, with its environment and arguments."""
    # They are waited for by the system.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    modules = list(_MODULES)
    while True:
        # Who comes meanwhile may not need what is still missing.
        while modules and not select.select([listener], [], [], 0)[0]:
            import_module(modules.pop(0))
        connection, _ = listener.accept()
        gc.freeze()
        with connection:
            if _is_ours(connection) and os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return _request(connection)


def main(descriptor: str) -> None:
    with socket.socket(fileno=int(descriptor)) as listener:
        environment, (context, program, *arguments) = _forked(listener)
    os.environ.clear()
    os.environ.update(environment)
    # As Ray's own program does in this place, which then starts Python.
    update_envs(RuntimeEnvContext.deserialize(context).env_vars)
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
