"""A stage under `dvc repro` whose parameters somebody changes while it computes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from flow_workspace import graph
from pipeline_workspace import Running, Workspace, add_stage, succeeded, wait_until

from tasks.params.recorded import recorded

# Computes with the levels that it finds when it begins, writes when somebody writes into the pipe.
WORK = """
import yaml
from pathlib import Path
def main(variant):
    levels = yaml.safe_load(Path("params.yaml").read_text())["variant"][variant]["levels"]
    print("computing", flush=True)
    Path("pipe").read_text()
    Path(f"{variant}.txt").write_text(str(levels))
"""
STAGE = "levels@saturated"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    described = {
        "levels": {
            "matrix": {"variant": ["saturated", "edges"]},
            "cmd": "python -m tasks work ${item.variant}",
            "deps": ["input.txt"],
            "params": ["run.seed", "variant.${item.variant}"],
            "outs": ["${item.variant}.txt"],
        }
    }
    workspace = graph(tmp_path / "graph", described)
    add_stage(workspace.root, "work", WORK)
    os.mkfifo(workspace.root / "pipe")
    return workspace


@pytest.fixture
def computing(workspace: Workspace) -> Iterator[Running]:
    with workspace.start("dvc", "repro", "--single-item", STAGE) as running:
        wait_until(lambda: "computing" in running.output or running.ended, "the stage to begin")
        yield running


def test_its_result_is_not_taken_for_that_of_the_new_ones(
    workspace: Workspace, computing: Running
) -> None:
    workspace.set({"variant.saturated.levels": [7]})
    (workspace.root / "pipe").write_text("go on")
    ended = computing.wait()
    assert ended.status != 0
    assert "error: params.yaml: variant.saturated changed from " in ended.errors
    assert not (workspace.root / "dvc.lock").exists()


def test_parameters_that_are_not_recorded_for_it_may_change(
    workspace: Workspace, computing: Running
) -> None:
    workspace.set({"variant.edges.levels": [7]})
    (workspace.root / "pipe").write_text("go on")
    succeeded(computing.wait())
    assert STAGE in workspace.lock["stages"]


def test_the_recorded_parameters_are_those_that_dvc_writes_into_its_lock(
    workspace: Workspace, computing: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.root / "pipe").write_text("go on")
    succeeded(computing.wait())
    monkeypatch.chdir(workspace.root)
    locked = yaml.safe_load((workspace.root / "dvc.lock").read_text())
    assert (
        recorded("levels", {"variant": "saturated"})
        == locked["stages"][STAGE]["params"]["params.yaml"]
    )
