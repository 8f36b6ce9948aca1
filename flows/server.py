"""A Prefect server on this machine, for as long as somebody needs it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from tasks.processes.addresses import free_port
from tasks.processes.service import service

_SECONDS = 10


def _answers(url: str) -> bool:
    try:
        urlopen(url, timeout=_SECONDS).close()
    except (OSError, HTTPException):
        # Nobody, or somebody else who took the port first; then Prefect ends.
        return False
    return True


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
    environment = os.environ | {
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
