"""`python head.py PORT PORT NAME`: the only node of a Ray cluster that other machines cannot reach.

The first port is the cluster's, the second that of the node's agent for runtime environments; the
name is that of the node's fork server.
Prints a line once the node is up, and ends as soon as one of its parts does, for which Ray itself
would wait for a minute.

`ray start --head` also starts what nobody here uses (a server for clients elsewhere, the dashboard,
the autoscaler), and fails on a busy machine: its raylet ends if the dashboard's agent does not say
within 15 s where it listens.
"""

import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from ray._private.node import Node
from ray._private.parameter import RayParams
from ray._raylet import (
    DASHBOARD_AGENT_LISTEN_PORT_NAME,
    METRICS_AGENT_PORT_NAME,
    METRICS_EXPORT_PORT_NAME,
    persist_port,
)

_OF_THE_AGENT = (
    DASHBOARD_AGENT_LISTEN_PORT_NAME,
    METRICS_AGENT_PORT_NAME,
    METRICS_EXPORT_PORT_NAME,
)
_NOWHERE = -1
_NO_JOB = "ffffffff"
_FORK_SERVER = Path(__file__).with_name("fork_server.py")
_FORK_REQUEST = Path(__file__).with_name("fork_request.py")


class _Head(Node):  # type: ignore[misc]
    def start_api_server(self, **_: Any) -> None:
        """The dashboard's server, which the node would wait for."""

    def start_raylet(self, *arguments: Any, **options: Any) -> None:
        # In the agent's place, so that the raylet does not wait for it.
        for name in _OF_THE_AGENT:
            persist_port(self.get_session_dir_path(), self.node_id, name, _NOWHERE)
        super().start_raylet(*arguments, **options)


def _fork_server(name: str) -> subprocess.Popen[bytes]:
    """Start it, and name it to all that this process starts from now on."""
    os.environ["ATCNN_FORK_SERVER"] = name
    # What is read of a worker's environment when torch (as Ray has it for one CPU) and Ray are
    # imported: the worker belongs to the job of its first task, and ends with this process.
    threads = {"OMP_NUM_THREADS": "1"}
    of_ray = {"RAY_JOB_ID": _NO_JOB, "RAY_RAYLET_PID": str(os.getpid())}
    with socket.socket(socket.AF_UNIX) as listener:
        # An abstract address, not a file, which would be left behind.
        listener.bind(f"\0{name}")
        listener.listen()
        return subprocess.Popen(
            [sys.executable, "-P", str(_FORK_SERVER), str(listener.fileno())],
            env=threads | os.environ | of_ray,
            pass_fds=[listener.fileno()],
        )


def main(port: str, agent_port: str, name: str) -> str:
    server = _fork_server(name)
    parameters = RayParams(
        node_ip_address="127.0.0.1",
        gcs_server_port=int(port),
        runtime_env_agent_port=int(agent_port),
        dashboard_agent_listen_port=0,
        include_log_monitor=False,
        no_monitor=True,
        setup_worker_path=str(_FORK_REQUEST),
    )
    node = _Head(parameters, head=True)
    print("The node is up.", flush=True)
    started = [each.process for group in node.all_processes.values() for each in group]
    parts = {os.pidfd_open(process.pid): process for process in (server, *started)}
    select.select(list(parts), [], [])
    for process in parts.values():
        process.kill()
    return "a part of the node has ended"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
