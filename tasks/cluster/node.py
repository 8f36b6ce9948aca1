"""A node of a Ray cluster without any CPU, as a place for a program that uses the cluster.

Ray lets programs connect only from its own nodes. `python -m tasks.cluster.node COMMAND ...` makes
this machine a node of the cluster that `RAY_ADDRESS` names for the time of the command, which then
can use that cluster from here. The command ends with the node if the cluster is lost.
"""

import os
import select
import signal
import sys
from contextlib import ExitStack

from tasks.cluster.given import ClusterGoneError, wait_for_cluster
from tasks.cluster.local import too_slow
from tasks.processes.service import NotStartedError, service
from tasks.processes.tether import exit_on, given_command, tethered

_START = [
    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--log-color=false"),
    *("--num-cpus=0", "--num-gpus=0"),
]


def _run_on_node(command: list[str], address: str) -> int:
    with ExitStack() as stack:
        running = None
        while True:
            wait_for_cluster(address)
            with service(
                "Ray",
                [*_START, f"--address={address}"],
                env=os.environ,
                ready=lambda written: "Ray runtime started" in written,
                again=too_slow,
            ) as node:
                running = running or stack.enter_context(tethered(command))
                ends = {os.pidfd_open(process.pid): process for process in (node, running)}
                ended, _, _ = select.select(list(ends), [], [])
                if ends[ended[0]] is running:
                    return running.wait()
            print(f"the node of the Ray cluster at {address} was lost", file=sys.stderr)


def main() -> int:
    address = os.environ.get("RAY_ADDRESS", "")
    usage = "RAY_ADDRESS=HOST:PORT python -m tasks.cluster.node COMMAND ..."
    command = given_command(usage, ready=bool(address))
    exit_on(signal.SIGTERM)
    try:
        return _run_on_node(command, address)
    except ClusterGoneError as error:
        print(f"error: {error}", file=sys.stderr)
    except NotStartedError as error:
        print(f"error: RAY_ADDRESS: cannot join {address}: {error}", file=sys.stderr)
    return os.EX_TEMPFAIL


if __name__ == "__main__":
    sys.exit(main())
