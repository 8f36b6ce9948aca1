"""One small workspace in which the whole pipeline has run once, and cheap copies of it."""

from pathlib import Path

import pytest
from pipeline_workspace import Pipeline, Workspace, succeeded


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Pipeline:  # noqa: ARG001
    workspace = Workspace.create(tmp_path_factory.mktemp("pipeline") / "first")
    return Pipeline(workspace, succeeded(workspace.repro()))


@pytest.fixture
def workspace(pipeline: Pipeline, tmp_path: Path) -> Workspace:
    """A copy in which everything has been computed, for this test alone."""
    return pipeline.workspace.copy(tmp_path / "copy")


@pytest.fixture
def fresh(ray_cluster: None, bare: Workspace) -> Workspace:  # noqa: ARG001
    """A workspace in which nothing has been computed yet, and the session's cluster."""
    return bare
