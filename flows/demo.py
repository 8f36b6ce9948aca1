"""`python -m flows.demo [ARGUMENT ...]`: a whole deployment on this machine, for one run.

Starts a Prefect server and a worker, deploys, runs `prefect deployment run reproduce/default
ARGUMENT ...` while the worker prints the run's log, and stops everything again. The history of
runs stays in `.prefect/`.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tasks.tether import tethered

_START_SECONDS = 120
_WORKER = ["prefect", "worker", "start", "--pool=workspace", "--type=process"]
_RUN = ["prefect", "--no-prompt", "deployment", "run", "reproduce/default", "--watch"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        urlopen(url).close()
    except URLError:
        return False
    return True


def _demo(arguments: list[str], log: Path) -> int:
    url = f"http://127.0.0.1:{(port := _free_port())}"
    environment = os.environ | {
        "ATCNN_WORKSPACE": str(Path.cwd()),
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_HOME": str(log.parent),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    start = ["prefect", "server", "start", "--host=127.0.0.1", f"--port={port}"]
    with log.open("wb") as output, tethered(start, env=environment, output=output) as server:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(f"{url}/api/ready"):
            if server.poll() is not None or time.monotonic() > deadline:
                print(f"error: Prefect did not start:\n{log.read_text()}", file=sys.stderr)
                return 1
            time.sleep(0.1)
        print(f"Prefect is at {url} until the run ends.", flush=True)
        deployed = subprocess.run(
            ["sh", "deployment/deploy.sh"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if deployed.returncode:
            print(f"error: nothing was deployed:\n{deployed.stderr}", file=sys.stderr)
            return 1
        with (
            tethered(_WORKER, env=environment),
            tethered([*_RUN, *arguments], env=environment, output=output) as run,
        ):
            status = run.wait()
        print("The run has failed." if status else "The run has completed.")
        return status


def _told_to_stop(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    signal.signal(signal.SIGTERM, _told_to_stop)
    home = Path(".prefect").resolve()
    home.mkdir(exist_ok=True)
    try:
        return _demo(sys.argv[1:], home / "demo.log")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
