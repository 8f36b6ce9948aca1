"""The steps of a flow run on the graph, without a flow."""

from pathlib import Path

import pytest
from flow_workspace import graph, stage
from pipeline_workspace import succeeded

from flows.parameters import own_parameters
from flows.pipeline import Begun, Pipeline


def test_files_under_dvc_that_have_changed_are_read_as_they_are_and_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = graph(tmp_path / "graph", {"prepare": stage("ls raw > list", "raw", out="list")})
    monkeypatch.chdir(workspace.root)
    images = workspace.root / "raw"
    images.mkdir()
    (images / "old.png").touch()
    succeeded(workspace.dvc("add", "raw"))
    (images / "new.png").write_text("in no cache")

    pipeline = Pipeline(workspace.root, own_parameters([], tmp_path))
    plan = pipeline.plan([], force=False)
    begun = {p.name: pipeline.begin(p.name, force=False, pull=False) for p in plan}
    assert begun == {"prepare": Begun.RUN}
    assert {path.name for path in images.iterdir()} == {"old.png", "new.png"}
