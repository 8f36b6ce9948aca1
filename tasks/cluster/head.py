"""`python head.py PORT PORT`: the only node of a Ray cluster that other machines cannot reach.

The first port is the cluster's, the second that of the node's agent for runtime environments.
Prints a line once the node is up, and ends as soon as one of its parts does, for which Ray itself
would wait for a minute.

`ray start --head` also starts what nobody here uses (a server for clients elsewhere, the dashboard,
the autoscaler), and fails on a busy machine: its raylet ends if the dashboard's agent does not say
within 15 s where it listens.
"""

import os
import select
import sys
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


class _Head(Node):  # type: ignore[misc]
    def start_api_server(self, **_: Any) -> None:
        """The dashboard's server, which the node would wait for."""

    def start_raylet(self, *arguments: Any, **options: Any) -> None:
        # In the agent's place, so that the raylet does not wait for it.
        for name in _OF_THE_AGENT:
            persist_port(self.get_session_dir_path(), self.node_id, name, _NOWHERE)
        super().start_raylet(*arguments, **options)


def main(port: str, agent_port: str) -> str:
    parameters = RayParams(
        node_ip_address="127.0.0.1",
        gcs_server_port=int(port),
        runtime_env_agent_port=int(agent_port),
        dashboard_agent_listen_port=0,
        include_log_monitor=False,
        no_monitor=True,
    )
    node = _Head(parameters, head=True)
    print("The node is up.", flush=True)
    parts = {
        os.pidfd_open(started.process.pid): started.process
        for processes in node.all_processes.values()
        for started in processes
    }
    select.select(list(parts), [], [])
    for process in parts.values():
        process.kill()
    return "a part of the node has ended"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
