"""`python fork_server.py DESCRIPTOR`: where workers of a node of Ray come from, and stages.

This process has imported what they need, which takes many seconds, and makes a copy of itself for
each request at the listening socket. The copy is ready in a fraction of a second, and as new as any
other process: the project's own code is not imported here.
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
from typing import Any

from ray._private.runtime_env.context import RuntimeEnvContext
from ray._private.utils import update_envs

# What takes them longest to import, that which all of them need first.
_MODULES = (
    "ray._private.workers.default_worker",
    "pyarrow.parquet",
    "yaml",
    "pydantic.fields",
    # With what is looked for among all installed packages when a model is first defined.
    "pydantic.root_model",
    "rich.progress",
    "PIL.Image",
    "torch",
    "safetensors.torch",
    "captum.attr",
    "torchvision",
)
_BYTES = 1 << 16
_FILES = 4


def import_all() -> None:
    """Import all of it, which Python compiles the first time: a part of the installation."""
    for name in _MODULES:
        import_module(name)


def _is_ours(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.getuid())


def _request(connection: socket.socket) -> dict[str, Any]:
    """What is asked for (`fork_request.ask`), by a process whose files this one then has."""
    data, descriptors, *_ = socket.recv_fds(connection, _BYTES, _FILES)
    while more := connection.recv(_BYTES):
        data += more
    for number, descriptor in zip((0, 1, 2), descriptors, strict=False):
        os.dup2(descriptor, number)
        os.close(descriptor)
    request: dict[str, Any] = json.loads(data)
    request["arguments"] += map(str, descriptors[3:])
    return request


def _forked(listener: socket.socket) -> dict[str, Any]:
    """Serve for ever; what returns is a child, with what it is asked for."""
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
        request = _forked(listener)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if context := request["context"]:
        # As Ray's own program does in this place, which then starts Python.
        update_envs(RuntimeEnvContext.deserialize(context).env_vars)
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    program = request["program"]
    sys.argv = [program, *request["arguments"]]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        sys.path.insert(0, request["folder"])
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
