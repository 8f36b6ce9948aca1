"""What is computed again follows from what is selected, not from what else lies there."""

import json
from pathlib import Path
from typing import Any

import pytest
from flow_workspace import git
from pipeline_workspace import EVERYTHING, Workspace, clear, stale, succeeded, the_error

SECOND: dict[str, Any] = {
    "run.datasets": ["second"],
    "run.methods": ["standard"],
    "run.controls": [],
    "run.variants": ["saturated"],
}
SECOND_RUN = {
    "selection",
    "prepare@second",
    "train@second-standard-0",
    "variants@second-saturated",
    "quality@second-saturated",
    "evaluate@second-standard-0",
    "salience@second-standard-0",
    "report",
}
NOT_SELECTED: dict[str, Any] = {
    "dataset.cifar10.image_size": 48,
    "method.fgsm_8.learning_rate": 0.05,
    "stylizer.adain.size": 64,
    "variant.edges.levels": [2],
}


@pytest.fixture
def catalogued(workspace: Workspace) -> Workspace:
    """The results of one selection, and what another one names."""
    (workspace.root / "raw/second").mkdir()
    (workspace.root / "raw/second/README.md").write_text("Drawn.\n")
    dataset = workspace.parameters["dataset"]["shapes"]
    images = {"train": 64, "validation": 16, "test": 40}
    workspace.set({"dataset.second": dataset | {"images": images}})
    return workspace


def test_one_selection_after_the_other_is_clean_here_and_in_a_clone_and_repeats_nothing(
    catalogued: Workspace, tmp_path: Path
) -> None:
    first = catalogued.digests(*EVERYTHING)
    before = catalogued.set(SECOND)
    assert set(succeeded(catalogued.repro()).stages_run) == SECOND_RUN
    assert stale(catalogued) == set()
    left = catalogued.digests(*EVERYTHING)
    assert {Path(file).parts[0] for file in left.keys() & first.keys()} == {"models", "reports"}

    succeeded(catalogued.dvc("remote", "add", "--default", "store", str(tmp_path / "store")))
    git(catalogued, "add", "--all")
    git(catalogued, "commit", "--quiet", "--message", "Run")
    succeeded(catalogued.dvc("push"))
    git(catalogued, "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Workspace(tmp_path / "clone")
    succeeded(clone.dvc("pull"))
    assert stale(clone) == set()
    assert succeeded(clone.repro()).stages_run == []

    (catalogued.root / "params.yaml").write_text(before)
    assert succeeded(catalogued.repro()).stages_run == ["selection"]
    assert catalogued.digests(*first) == first


def test_a_selection_without_variants_asks_about_clean_and_attacked_images(
    workspace: Workspace,
) -> None:
    for folder in ("variants", "quality", "dvc.lock"):
        clear(workspace.root / folder)
    workspace.set({"run.variants": [], "run.controls": []})
    succeeded(workspace.repro())
    summary = json.loads((workspace.root / "reports/summary.json").read_text())
    assert {record["variant"] for record in summary} == {"clean", "pgd_linf"}


def test_what_the_cache_cannot_bring_back_stays(workspace: Workspace) -> None:
    root = workspace.root
    changed = root / "predictions/shapes/pgd_linf_8/0.parquet"
    changed.write_bytes(changed.read_bytes() + b" ")
    lost = "quality/shapes/patch_shuffled.json"
    (entry,) = workspace.lock["stages"]["quality@shapes-patch_shuffled"]["outs"]
    (root / ".dvc/cache/files/md5" / entry["md5"][:2] / entry["md5"][2:]).unlink()
    before = workspace.digests(str(changed.relative_to(root)), lost)

    workspace.set({key: value for key, value in SECOND.items() if key != "run.datasets"})
    said = succeeded(workspace.repro("selection")).output
    assert (
        f"kept, as DVC's cache cannot bring them back: {changed.relative_to(root)}, {lost}" in said
    )
    assert workspace.digests(*before) == before
    assert not (root / "variants/shapes/patch_shuffled").exists()
    assert not (root / "predictions/shapes/underfit/0.parquet").exists()


def test_a_change_of_what_is_not_selected_makes_nothing_stale(workspace: Workspace) -> None:
    workspace.set(NOT_SELECTED)
    assert stale(workspace) == set()


def test_a_level_that_is_not_selected_any_more_is_not_passed_over(workspace: Workspace) -> None:
    workspace.set({"variant.patch_shuffled.levels": [4]})
    message = the_error(workspace.stage("evaluate", "shapes", "standard", "0"))
    assert message == (
        "variants/shapes/patch_shuffled/2.arrow: variant.patch_shuffled.levels does not name this "
        "level; run the stage variants again"
    )
