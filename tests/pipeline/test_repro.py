"""`dvc repro` computes everything once, then exactly what a change can have changed."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from pipeline_workspace import (
    EPOCHS,
    EVERYTHING,
    MODELS,
    PROJECT,
    REPRODUCIBLE,
    Pipeline,
    Workspace,
    stale,
    succeeded,
)

COMMIT = ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "Run")
UP_TO_DATE = "Data and pipelines are up to date."
EVERY_STAGE = {
    "selection",
    "prepare@shapes",
    "train@shapes-standard-0",
    "train@shapes-pgd_linf_8-0",
    "train_control@shapes-underfit-0",
    "variants@shapes-saturated",
    "variants@shapes-patch_shuffled",
    "variants@shapes-cue_conflict",
    "quality@shapes-saturated",
    "quality@shapes-patch_shuffled",
    "quality@shapes-cue_conflict",
    "evaluate@shapes-standard-0",
    "evaluate@shapes-pgd_linf_8-0",
    "evaluate_control@shapes-underfit-0",
    "salience@shapes-standard-0",
    "salience@shapes-pgd_linf_8-0",
    "salience_control@shapes-underfit-0",
    "report",
}


def test_the_first_run_computes_every_stage_once(pipeline: Pipeline) -> None:
    assert sorted(pipeline.first.stages_run) == sorted(EVERY_STAGE)
    assert pipeline.workspace.temporaries() == []


def test_the_report_has_numbers_of_every_model(pipeline: Pipeline) -> None:
    reports = pipeline.workspace.root / "reports"
    records = json.loads((reports / "summary.json").read_text())
    assert {record["method"] for record in records} == set(MODELS)
    page = (reports / "index.html").read_text()
    assert page.rstrip().endswith("</html>")
    for model in MODELS:
        assert model in page


def test_the_precision_of_a_training_is_printed_recorded_and_reported(pipeline: Pipeline) -> None:
    root = pipeline.workspace.root
    used = json.loads((root / "curves/shapes/standard/0.json").read_text())["precision"]
    line = rf"^train shapes standard 0: {EPOCHS}/{EPOCHS} loss .*, {used}$"
    assert re.search(line, pipeline.first.output, re.MULTILINE)
    assert f"; networks trained in {used}<" in (root / "reports/index.html").read_text()


def test_a_second_run_computes_nothing(pipeline: Pipeline) -> None:
    again = succeeded(pipeline.workspace.repro())
    assert again.stages_run == []
    assert UP_TO_DATE in again.output
    assert UP_TO_DATE in succeeded(pipeline.workspace.dvc("status")).output


def test_dvc_shows_metrics_and_plots(pipeline: Pipeline, tmp_path: Path) -> None:
    shown = succeeded(pipeline.workspace.dvc("metrics", "show")).output.splitlines()
    assert max(map(len, shown)) <= 120
    files = [line.split()[0] for line in shown if line.startswith("reports/")]
    assert files == sorted(f"reports/metrics/shapes/{model}.json" for model in MODELS)

    succeeded(pipeline.workspace.dvc("plots", "show", "--out", str(tmp_path / "plots")))
    page = (tmp_path / "plots" / "index.html").read_text()
    pictures = pipeline.workspace.digests("reports/figures/shapes/*.png")
    assert len(pictures) == page.count("<img src=") > 0
    assert all(f"<p>{picture}</p>" in page for picture in pictures)
    assert "<script" not in page


def test_dvc_shows_what_two_runs_differ_in(workspace: Workspace, tmp_path: Path) -> None:
    for command in (("add", "--all"), COMMIT):
        subprocess.run(["git", *command], cwd=workspace.root, check=True)
    target = "evaluate@shapes-standard-0"
    changed = ("--set-param", "method.standard.learning_rate=0.05", "--name", "slower")
    succeeded(workspace.dvc("exp", "run", *changed, target))
    shown = succeeded(workspace.dvc("exp", "diff", "HEAD", "slower")).output.splitlines()
    (row,) = (line.split() for line in shown if "method." in line)
    assert row[:4] == ["params.yaml", "method.standard.learning_rate", "0.1", "0.05"]
    assert max(map(len, shown)) <= 120

    (drop,) = re.findall(r"--drop '(.*)'", (PROJECT / "docs/artifacts.md").read_text())
    table = workspace.dvc("exp", "show", "--csv", "--only-changed", "--drop", drop)
    columns = succeeded(table).output.splitlines()[0].split(",")
    assert columns == ["Experiment", "method.standard.learning_rate"]
    succeeded(workspace.dvc("plots", "diff", "HEAD", "slower", "--out", str(tmp_path / "plots")))
    assert "<p>slower</p>" in (tmp_path / "plots" / "index.html").read_text()


def test_a_change_of_one_method_reruns_what_depends_on_it_and_setting_it_back_nothing(
    workspace: Workspace,
) -> None:
    before = workspace.digests(*EVERYTHING)
    written = workspace.set({"method.standard.learning_rate": 0.05})
    changed = succeeded(workspace.repro())
    assert sorted(changed.stages_run) == [
        "evaluate@shapes-standard-0",
        "report",
        "salience@shapes-standard-0",
        "train@shapes-standard-0",
    ]
    weights = "models/shapes/standard/0/model.safetensors"
    assert workspace.digests(weights) != {weights: before[weights]}

    (workspace.root / "params.yaml").write_text(written)
    back = succeeded(workspace.repro())
    assert back.stages_run == []
    assert "Stage 'train@shapes-standard-0' is cached" in back.output
    assert workspace.digests(*EVERYTHING) == before


def test_another_seed_trains_only_the_new_networks(workspace: Workspace) -> None:
    workspace.set({"run.seeds": [0, 1]})
    networks = {stage for stage in EVERY_STAGE if stage.endswith("-0")}
    new = {stage.removesuffix("0") + "1" for stage in networks}
    assert stale(workspace) == {"selection", "report"} | new

    before = workspace.digests(*REPRODUCIBLE)
    workspace.set({"run.methods": ["standard"], "run.controls": []})
    run = succeeded(workspace.repro()).stages_run
    stages = [f"{stage}@shapes-standard-1" for stage in ("evaluate", "salience", "train")]
    assert sorted(run) == sorted(["selection", "report", *stages])
    after = workspace.digests(*REPRODUCIBLE)
    kept = before.keys() & after.keys()
    assert "predictions/shapes/standard/0.parquet" in kept
    assert {file: after[file] for file in kept} == {file: before[file] for file in kept}
    weights = (f"models/shapes/standard/{seed}/model.safetensors" for seed in (0, 1))
    assert len({after[file] for file in weights}) == 2
    records = json.loads((workspace.root / "reports/summary.json").read_text())
    assert {record["seed"] for record in records} == {0, 1, None}


def test_a_change_of_the_method_a_control_is_compared_with_reruns_the_control_but_no_other_method(
    workspace: Workspace,
) -> None:
    before = workspace.digests("models/**/*")
    # Half as many epochs, which the control sees whatever accuracy they lead to.
    free = {"kind": "free", "norm": "linf", "eps": "8/255", "replays": 2}
    workspace.set({"method.pgd_linf_8.attack": free})
    changed = succeeded(workspace.repro("train_control@shapes-underfit-0"))
    assert changed.stages_run == ["train@shapes-pgd_linf_8-0", "train_control@shapes-underfit-0"]

    after = workspace.digests("models/**/*")
    models = {Path(file).parts[2] for file in before if before[file] != after[file]}
    assert "pgd_linf_8" in models
    assert models <= {"pgd_linf_8", "underfit"}
    # What the rest of the run will compute: DVC names stages whose own inputs have changed.
    suffix = {"pgd_linf_8": "", "underfit": "_control"}
    assert stale(workspace) == {"report"} | {
        f"{stage}{suffix[model]}@shapes-{model}-0"
        for stage in ("evaluate", "salience")
        for model in models
    }


@pytest.mark.parametrize(
    ("label", "total"),
    [
        ("draw test", 3),
        ("variants shapes patch_shuffled", 4),
        ("train shapes pgd_linf_8 0", EPOCHS),
        ("evaluate shapes standard 0", 15),
        ("salience shapes underfit 0", 3),
    ],
)
def test_without_a_terminal_progress_is_plain_lines_up_to_the_total(
    pipeline: Pipeline, label: str, total: int
) -> None:
    output = pipeline.first.output
    assert not {"\r", "\x1b"} & set(output)
    pattern = rf"^{label}: (\d+)/{total}(?: \S.*)?$"
    pieces = [int(number) for number in re.findall(pattern, output, re.MULTILINE)]
    assert len(pieces) == output.count(f"{label}: ")
    assert pieces == sorted(set(pieces))
    assert pieces[-1] == total
