"""A node of a Ray cluster without any CPU, as a place for a program that uses the cluster.

Ray lets programs connect only from its own nodes. `python -m tasks.node COMMAND ...` makes this
machine a node of the cluster that `RAY_ADDRESS` names for the time of the command, which then can
use that cluster from here. The command ends with the node if the cluster is lost.
"""

import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tasks.tether import tethered

_START_SECONDS = 60


def _told_to_stop(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    command = sys.argv[1:]
    if not command:
        print("usage: python -m tasks.node COMMAND [ARGUMENT ...]", file=sys.stderr)
        return 2
    if shutil.which(command[0]) is None:
        print(f"error: {command[0]}: no such command", file=sys.stderr)
        return 127
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        print("error: RAY_ADDRESS: give host:port of the cluster to join", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _told_to_stop)
    start = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
        *(f"--address={address}", "--num-cpus=0", "--num-gpus=0"),
    ]
    with tempfile.TemporaryDirectory(prefix="ray-node-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output, tethered(start, output=output) as node:
            deadline = time.monotonic() + _START_SECONDS
            while b"Ray runtime started" not in log.read_bytes():
                if node.poll() is not None or time.monotonic() > deadline:
                    print(
                        f"error: RAY_ADDRESS: this machine could not join {address}:\n"
                        f"{log.read_text()}",
                        file=sys.stderr,
                    )
                    return 1
                time.sleep(0.05)
            with tethered(command) as running:
                ended = {os.pidfd_open(process.pid): process for process in (node, running)}
                ready, _, _ = select.select(list(ended), [], [])
                if ended[ready[0]] is running:
                    return running.wait()
                print(f"error: the cluster at {address} is lost", file=sys.stderr)
                return 1


if __name__ == "__main__":
    sys.exit(main())
