"""`python -m flows.demo [ARGUMENT ...]`: a whole deployment on this machine, for one run.

Starts a Prefect server and a worker, deploys, runs `prefect deployment run reproduce/default
ARGUMENT ...` while the worker prints the run's log, and stops everything again. The history of
runs stays in `.prefect/`.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from flows.server import prefect_server, without_proxy_here
from tasks.processes.service import NotStartedError
from tasks.processes.tether import exit_on, tethered

_WORKER = ["prefect", "worker", "start", "--pool=workspace", "--type=process", "--limit=1"]
_RUN = ["prefect", "--no-prompt", "deployment", "run", "reproduce/default", "--watch"]


def _demo(arguments: list[str], home: Path) -> int:
    with prefect_server(home, ui=True) as url, (home / "demo.log").open("wb") as output:
        environment = without_proxy_here(os.environ) | {
            "ATCNN_WORKSPACE": str(Path.cwd()),
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": f"{url}/api",
            "PREFECT_HOME": str(home),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
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


def main(arguments: list[str]) -> int:
    exit_on(signal.SIGTERM)
    home = Path(".prefect").resolve()
    home.mkdir(exist_ok=True)
    try:
        return _demo(arguments, home)
    except NotStartedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
