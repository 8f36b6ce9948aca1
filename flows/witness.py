"""A process beside each flow run, which says what became of the run if that is killed.

Prefect leaves a run RUNNING whose process is killed, as it does with all runs of a worker that is
stopped, and lets a run go on whose worker is killed. The witness waits in a session of its own for
the end of the run's process, gives the run a final state if it has none then, and stops it once
its worker is gone.
"""

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

# What a run has from SIGTERM, which lets it end its stages in order, to SIGKILL.
_GRACE_SECONDS = 30
# How often and for how long a server that does not answer is asked again.
_RETRY_SECONDS, _TRIES = 1, 120
_TIMEOUT_SECONDS = 10
_NOT_FOUND, _SERVER_ERROR = 404, 500
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Api:
    """Where Prefect's server is, and what it asks for: a key, `name:password`, or nothing."""

    url: str
    key: str | None = None
    login: str | None = None

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        elif self.login:
            headers["Authorization"] = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/{path}", data, headers)
        tries = 0
        while True:
            try:
                with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                    return json.load(answer)
            except OSError as error:
                tries += 1
                refused = isinstance(error, HTTPError) and error.code < _SERVER_ERROR
                if refused or tries == _TRIES:
                    raise
                time.sleep(_RETRY_SECONDS)

    def unbegun(self, deployment: str, since: datetime) -> list[str]:
        """The runs of a deployment that a worker took before then and that have not begun.

        Raises:
            OSError: the server has not answered for minutes, or refuses.
        """
        pending = {
            "deployment_id": {"any_": [deployment]},
            "state": {"type": {"any_": ["PENDING"]}},
        }
        return [
            run["id"]
            for run in self._ask("flow_runs/filter", {"flow_runs": pending})
            if datetime.fromisoformat(run["state"]["timestamp"]) < since
        ]

    def conclude(self, flow_run: str, message: str) -> None:
        """Give a run that has ended a final state, unless it has one or is not known here.

        Raises:
            OSError: the server has not answered for minutes, or refuses.
        """
        try:
            state = self._ask(f"flow_runs/{flow_run}")["state_type"]
        except HTTPError as error:
            if error.code == _NOT_FOUND:
                return
            raise
        if state in _FINAL:
            return
        kind = "CANCELLED" if state == "CANCELLING" else "CRASHED"
        new = {"type": kind, "name": kind.capitalize(), "message": message}
        self._ask(f"flow_runs/{flow_run}/set_state", {"state": new, "force": True})


def attach(api: Api, flow_run: str) -> subprocess.Popen[bytes]:
    """Start the witness of this process, which is the run; it lives until the process ends.

    A run that Prefect has started writes into a pipe that its worker reads.
    """
    asked = {
        **asdict(api),
        "flow_run": flow_run,
        "process": os.getpid(),
        "by_worker": "PREFECT__FLOW_RUN_ID" in os.environ,
    }
    witness = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True
    )
    assert witness.stdin is not None
    witness.stdin.write(json.dumps(asked).encode() + b"\n")
    witness.stdin.flush()
    return witness


def _wait(process: int, *, by_worker: bool) -> None:
    """Until the run's process has ended; end it if nobody reads any more what it writes."""
    try:
        run = os.pidfd_open(process)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(run, select.POLLIN)
    if by_worker:
        poll.register(sys.stdout, select.POLLERR)
    if run in dict(poll.poll()):
        return
    poll.unregister(sys.stdout)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(run, number)
        if poll.poll(_GRACE_SECONDS * 1000):
            return


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    _wait(asked["process"], by_worker=asked["by_worker"])
    api = Api(asked["url"], asked["key"], asked["login"])
    with suppress(OSError):
        api.conclude(asked["flow_run"], f"its process ({asked['process']}) was killed")


if __name__ == "__main__":
    main()
