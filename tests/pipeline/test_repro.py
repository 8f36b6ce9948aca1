"""`dvc repro` computes everything once, then exactly what a change can have changed."""

import json
import re
from pathlib import Path

import pytest
from pipeline_workspace import EPOCHS, MODELS, Pipeline, Workspace, succeeded

UP_TO_DATE = "Data and pipelines are up to date."
EVERY_STAGE = {
    "prepare@shapes",
    "train@shapes-standard",
    "train@shapes-fgsm_8",
    "train@shapes-pgd_linf_8",
    "train_control@shapes-underfit",
    "variants@shapes-saturated",
    "variants@shapes-patch_shuffled",
    "variants@shapes-cue_conflict",
    "evaluate@shapes-standard",
    "evaluate@shapes-fgsm_8",
    "evaluate@shapes-pgd_linf_8",
    "evaluate_control@shapes-underfit",
    "salience@shapes-standard",
    "salience@shapes-fgsm_8",
    "salience@shapes-pgd_linf_8",
    "salience_control@shapes-underfit",
    "report",
}
EVERYTHING = tuple(
    f"{folder}/**/*"
    for folder in ("data", "models", "curves", "variants", "predictions", "salience", "reports")
)


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


def test_a_second_run_computes_nothing(pipeline: Pipeline) -> None:
    again = succeeded(pipeline.workspace.repro())
    assert again.stages_run == []
    assert UP_TO_DATE in again.output
    assert UP_TO_DATE in succeeded(pipeline.workspace.dvc("status")).output


def test_dvc_shows_metrics_and_plots(pipeline: Pipeline, tmp_path: Path) -> None:
    shown = succeeded(pipeline.workspace.dvc("metrics", "show", "--json"))
    file = json.loads(shown.output)[""]["data"]["reports/metrics.json"]
    assert set(file["data"]["shapes"]) == set(MODELS)
    succeeded(pipeline.workspace.dvc("plots", "show", "--out", str(tmp_path / "plots")))
    page = (tmp_path / "plots" / "index.html").read_text()
    for plotted in ("reports/curves.csv", *(f"curves/shapes/{model}.csv" for model in MODELS)):
        assert plotted in page


def test_a_change_of_one_method_reruns_what_depends_on_it_and_setting_it_back_nothing(
    workspace: Workspace,
) -> None:
    before = workspace.digests(*EVERYTHING)
    written = workspace.set({"method.fgsm_8.learning_rate": 0.05})
    changed = succeeded(workspace.repro())
    assert sorted(changed.stages_run) == [
        "evaluate@shapes-fgsm_8",
        "report",
        "salience@shapes-fgsm_8",
        "train@shapes-fgsm_8",
    ]
    weights = "models/shapes/fgsm_8/model.safetensors"
    assert workspace.digests(weights) != {weights: before[weights]}

    (workspace.root / "params.yaml").write_text(written)
    back = succeeded(workspace.repro())
    assert back.stages_run == []
    assert "Stage 'train@shapes-fgsm_8' is cached" in back.output
    assert workspace.digests(*EVERYTHING) == before


def test_a_change_of_the_method_a_control_is_compared_with_reruns_the_control_but_no_other_method(
    workspace: Workspace,
) -> None:
    before = workspace.digests("models/**/*")
    workspace.set({"method.pgd_linf_8.learning_rate": 0.01})
    changed = succeeded(workspace.repro("train_control@shapes-underfit"))
    assert changed.stages_run == ["train@shapes-pgd_linf_8", "train_control@shapes-underfit"]

    after = workspace.digests("models/**/*")
    models = {Path(file).parent.name for file in before if before[file] != after[file]}
    assert "pgd_linf_8" in models
    assert models <= {"pgd_linf_8", "underfit"}
    # What the rest of the run will compute: DVC names stages whose own inputs have changed.
    stale = json.loads(succeeded(workspace.dvc("status", "--json")).output)
    suffix = {"pgd_linf_8": "", "underfit": "_control"}
    assert set(stale) == {"report"} | {
        f"{stage}{suffix[model]}@shapes-{model}"
        for stage in ("evaluate", "salience")
        for model in models
    }


@pytest.mark.parametrize(
    ("label", "total"),
    [
        ("draw test", 3),
        ("variants shapes patch_shuffled", 2),
        ("train shapes pgd_linf_8", EPOCHS),
        ("evaluate shapes standard", 15),
        ("salience shapes fgsm_8", 4),
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
