"""One small workspace in which the whole pipeline has run once, and cheap copies of it."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pipeline_workspace import Pipeline, Workspace, succeeded, wait_until

from tasks.tether import tethered


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Pipeline:  # noqa: ARG001
    workspace = Workspace.create(tmp_path_factory.mktemp("pipeline") / "first")
    return Pipeline(workspace, succeeded(workspace.repro()))


@pytest.fixture
def workspace(pipeline: Pipeline, tmp_path: Path) -> Workspace:
    """A copy in which everything has been computed, for this test alone."""
    return pipeline.workspace.copy(tmp_path / "copy")


@pytest.fixture
def fresh(ray_cluster: None, tmp_path: Path) -> Workspace:  # noqa: ARG001
    """A workspace in which nothing has been computed yet."""
    return Workspace.create(tmp_path / "fresh")


@pytest.fixture(scope="session")
def prefect_api(
    tmp_path_factory: pytest.TempPathFactory,
    ray_cluster: None,  # noqa: ARG001
) -> Iterator[str]:
    """Address of a Prefect server of this session, whose flows find the session's Ray cluster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", f"--port={port}"]
    api = f"http://127.0.0.1:{port}/api"

    def healthy() -> bool:
        try:
            return httpx.get(f"{api}/health").is_success
        except httpx.TransportError:
            return False

    with (home / "log").open("wb") as log, tethered(command, env=environment, output=log) as server:
        wait_until(lambda: healthy() or server.poll() is not None, "the Prefect server")
        assert healthy(), (home / "log").read_text()
        yield api
