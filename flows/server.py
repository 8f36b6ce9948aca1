"""A Prefect server on this machine, for as long as somebody needs it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tasks.cluster.local import free_port
from tasks.processes.tether import tethered

_START_SECONDS = 120


def _answers(url: str) -> bool:
    try:
        urlopen(url).close()
    except URLError:
        return False
    return True


@contextmanager
def prefect_server(home: Path, *, ui: bool = False) -> Iterator[str]:
    """A Prefect server that ends with the block; yields its URL, under which `/api` lies.

    Args:
        home: an existing folder for its database and its log, `server.log`.
        ui: serve the pages too.

    Raises:
        RuntimeError: it did not start; with what it wrote.
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
    log = home / "server.log"
    with log.open("wb") as output, tethered(start, env=environment, output=output) as server:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(f"{url}/api/ready"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Prefect did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield url
