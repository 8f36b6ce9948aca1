"""One small workspace in which the whole pipeline has run once, and cheap copies of it."""

import fcntl
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
from pipeline_workspace import Finished, Pipeline, Workspace, succeeded


def _computed(folder: Path) -> Pipeline:
    """The workspace of a folder: whoever comes first computes it, the others wait for that."""
    finished = folder / "pipeline.json"
    with (folder / "pipeline.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            root = Path(tempfile.mkdtemp(prefix="pipeline-", dir=folder), "first")
            first = succeeded(Workspace.create(root).repro())
            finished.write_text(json.dumps({"root": str(root), "first": asdict(first)}))
    found = json.loads(finished.read_text())
    return Pipeline(Workspace(Path(found["root"])), Finished(**found["first"]))


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Pipeline:  # noqa: ARG001
    """One for all processes of pytest-xdist, of which each has a copy."""
    own = tmp_path_factory.getbasetemp()
    computed = _computed(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)
    copy = computed.workspace.copy(tmp_path_factory.mktemp("pipeline") / "first")
    return Pipeline(copy, computed.first)


@pytest.fixture
def workspace(pipeline: Pipeline, tmp_path: Path) -> Workspace:
    """A copy in which everything has been computed, for this test alone."""
    return pipeline.workspace.copy(tmp_path / "copy")


@pytest.fixture
def fresh(ray_cluster: None, bare: Workspace) -> Workspace:  # noqa: ARG001
    """A workspace in which nothing has been computed yet, and the session's cluster."""
    return bare
