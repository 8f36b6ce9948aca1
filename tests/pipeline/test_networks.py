"""Networks of one's own: what the pipeline trained, brought back in each format, is the same."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from pipeline_workspace import MODELS, Finished, Pipeline, Workspace, stale, succeeded, the_error

from atcore.evaluation import predictions
from atcore.images.stored import StoredTable

ENTRY: dict[str, Any] = dict.fromkeys(
    ("architecture", "mean", "std", "input_size", "classes", "groups")
)
# By the name that it comes back under: a trained network, the format that it goes out in, the file.
BROUGHT_BACK = {
    "program": ("standard", "pt2", "program.pt2"),
    "weights": ("pgd_linf_8", None, "weights.safetensors"),
    "wrapped": ("underfit", "state_dict", "wrapped.pt"),
}
ASKED = ("network@shapes-{}", "evaluate_network@shapes-{}-0", "salience_network@shapes-{}-0")


def _bring_back(workspace: Workspace, name: str) -> dict[str, Any]:
    """Put the file of a trained network into raw/networks; returns its entry."""
    method, kind, file = BROUGHT_BACK[name]
    folder, target = f"models/shapes/{method}/0", f"raw/networks/{file}"
    if kind is None:
        (workspace.root / target).write_bytes(
            (workspace.root / folder / "model.safetensors").read_bytes()
        )
    else:
        command = ("python", "-m", "tasks.tools.export", folder, "--to", kind, target)
        succeeded(workspace.run(*command))
    return ENTRY | {"architecture": None if name == "program" else "small"}


@pytest.fixture(scope="module")
def brought_back(
    pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Finished]:
    """A run of the trained networks beside themselves."""
    workspace = pipeline.workspace.copy(tmp_path_factory.mktemp("brought_back") / "copy")
    entries = {name: _bring_back(workspace, name) for name in BROUGHT_BACK}
    workspace.set({"network": entries, "run.networks": list(entries)})
    return workspace, succeeded(workspace.repro())


def test_it_runs_what_is_new_and_nothing_else(brought_back: tuple[Workspace, Finished]) -> None:
    workspace, run = brought_back
    own = {stage.format(name) for name in BROUGHT_BACK for stage in ASKED}
    assert set(run.stages_run) == own | {"selection", "report"}
    assert stale(workspace) == set()


@pytest.mark.parametrize("name", BROUGHT_BACK)
def test_its_answers_are_those_of_the_trained_network_to_the_bit(
    name: str, brought_back: tuple[Workspace, Finished]
) -> None:
    root, method = brought_back[0].root, BROUGHT_BACK[name][0]
    ours, theirs = (
        pq.read_table(root / f"predictions/shapes/{each}/0.parquet") for each in (method, name)
    )
    assert theirs.equals(ours)


def test_onnx_answers_with_the_same_classes(
    brought_back: tuple[Workspace, Finished], tmp_path: Path
) -> None:
    workspace, out = brought_back[0], tmp_path / "network.onnx"
    folder = "models/shapes/standard/0"
    command = ("python", "-m", "tasks.tools.export", folder, "--to", "onnx", str(out))
    succeeded(workspace.run(*command))
    test = StoredTable(workspace.root / "data/shapes/test.arrow").rows(slice(None))
    pixels = test.images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    (logits,) = onnxruntime.InferenceSession(out).run(["logits"], {"images": pixels})
    (clean, *_), _ = predictions.read(workspace.root / "predictions/shapes/standard/0.parquet")
    assert clean.ids.tolist() == test.ids.tolist()
    assert logits.argmax(1).tolist() == clean.top3[:, 0].tolist()


def test_another_file_runs_its_own_stages_and_one_that_nothing_names_the_checks_alone(
    brought_back: tuple[Workspace, Finished], tmp_path: Path
) -> None:
    workspace = brought_back[0].copy(tmp_path / "copy")
    (workspace.root / "raw/networks/classes.txt").write_text("not named\n")
    checks = {ASKED[0].format(name) for name in BROUGHT_BACK}
    assert stale(workspace) == checks
    assert set(succeeded(workspace.repro()).stages_run) == checks

    other = workspace.root / "models/shapes/standard/0/model.safetensors"
    (workspace.root / "raw/networks/weights.safetensors").write_bytes(other.read_bytes())
    run = succeeded(workspace.repro()).stages_run
    assert set(run) == checks | {stage.format("weights") for stage in ASKED} | {"report"}


def test_networks_alone_need_no_training(
    brought_back: tuple[Workspace, Finished], tmp_path: Path
) -> None:
    workspace = brought_back[0].copy(tmp_path / "copy")
    for method in MODELS:
        assert (workspace.root / "predictions/shapes" / method).exists()
    workspace.set({"run.methods": [], "run.controls": [], "run.networks": ["program"]})
    assert succeeded(workspace.repro()).stages_run == ["selection", "report"]
    page = (workspace.root / "reports/index.html").read_text()
    assert "networks trained elsewhere" in page
    assert "pgd_linf_8" not in page
    assert stale(workspace) == set()
    shown = succeeded(workspace.dvc("metrics", "show")).output
    assert "program.json" in shown


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("other.pt2", b"", "raw/networks/other.pt2: "),
        ("other.pt", b"", "raw/networks/other.pt: "),
        (
            "other.pt",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "raw/networks/other.pt: ",
        ),
        ("elsewhere.pt", b"", "raw/networks/other"),
    ],
    ids=["empty program", "empty weights", "git lfs", "no file"],
)
def test_a_mistake_ends_in_one_line_and_costs_nothing(
    workspace: Workspace, file: str, content: bytes, message: str
) -> None:
    architecture = "small" if file.endswith(".pt") else None
    workspace.set({"network.other": ENTRY | {"architecture": architecture}})
    (workspace.root / "raw/networks" / file).write_bytes(content)
    assert the_error(workspace.stage("network", "shapes", "other")).startswith(message)
    assert not (workspace.root / "models/shapes/other").exists()
    assert not (workspace.root / "curves/shapes/other").exists()
