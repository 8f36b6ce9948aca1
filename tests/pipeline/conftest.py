"""One small workspace in which the whole pipeline has run once, and cheap copies of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_workspace import Pipeline, Workspace, succeeded

from flows.server import prefect_server


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
    with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
        yield f"{url}/api"
