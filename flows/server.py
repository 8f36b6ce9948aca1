"""A Prefect server on this machine, for as long as somebody needs it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from tasks.processes.addresses import free_port
from tasks.processes.service import service

_SECONDS = 10
# A proxy, if the user has one, would ask its own machine.
_DIRECTLY = build_opener(ProxyHandler({}))


def _answers(url: str) -> bool:
    try:
        _DIRECTLY.open(url, timeout=_SECONDS).close()
    except (OSError, HTTPException):
        # Nobody, or somebody else who took the port first; then Prefect ends.
        return False
    return True


def without_proxy_here(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which programs of this machine are reached without a proxy."""
    given = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    # Beside other names `*` would not mean all of them any more.
    names = given if given == "*" else ",".join(filter(None, (given, "127.0.0.1", "localhost")))
    return {**environment, "no_proxy": names, "NO_PROXY": names}


@contextmanager
def prefect_server(home: Path, *, ui: bool = False) -> Iterator[str]:
    """A Prefect server that ends with the block; yields its URL, under which `/api` lies.

    Args:
        home: an existing folder for its database and its log, `server.log`.
        ui: serve the pages too.

    Raises:
        NotStartedError: it did not start.
    """
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = without_proxy_here(os.environ) | {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    start = ["prefect", "server", "start", "--host=127.0.0.1", f"--port={port}"]
    start += [] if ui else ["--no-ui"]
    with service(
        "Prefect",
        start,
        env=environment,
        ready=lambda _: _answers(f"{url}/api/ready"),
        log=home / "server.log",
    ):
        yield url
