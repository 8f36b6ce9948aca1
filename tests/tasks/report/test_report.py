"""The report stage: the files it writes, and what it refuses."""

import csv
import json
import re
from pathlib import Path
from shutil import rmtree

import pytest
import yaml
from report_artifacts import (
    CLASSES,
    COUNTS,
    ROBUST,
    ROOT,
    Page,
    parts_of,
    write_maps,
    write_measures,
    write_params,
)

from atcore.base.errors import UserError
from atcore.evaluation import predictions
from atcore.images.table import CLEAN
from atcore.report.records import Record, loads
from tasks import report
from tasks.workspace import paths


def _records(folder: Path) -> dict[tuple[str, str, float, str], Record]:
    """Those of one method, by what they measure."""
    records = loads((folder / "reports/summary.json").read_text())
    return {
        (r.method, r.variant, r.level, r.measure): r
        for r in records
        if r.other is None and r.map in (None, "gradient")
    }


@pytest.mark.parametrize(
    ("key", "value", "n"),
    [
        (("standard", CLEAN, 0.0, "accuracy"), 1.0, 40),
        (("underfit", CLEAN, 0.0, "accuracy"), 0.75, 40),
        (("standard", "pgd_linf", 4 / 255, "robust_accuracy"), 0.1, 40),
        ((ROBUST, "pgd_l2", 1.0, "robust_accuracy"), 0.8, 40),
        ((ROBUST, "auto_attack_linf", 8 / 255, "robust_accuracy"), 1.0, 20),
        (("underfit", "auto_attack_linf", 8 / 255, "robust_accuracy"), 0.0, 20),
        ((ROBUST, "stylized", 0.6, "accuracy"), 0.75, 40),
        ((ROBUST, "stylized", 0.6, "accuracy_on_correct"), 30 / 36, 36),
        (("standard", "cue_conflict", 0.6, "shape_bias"), 2 / 38, 38),
        (("standard", "cue_conflict", 0.6, "texture_rate"), 0.9, 40),
        ((ROBUST, "cue_conflict", 0.6, "shape_rate"), 0.95, 40),
        # Every answer has probability 0.7, in one bin.
        (("underfit", CLEAN, 0.0, "confidence"), 0.7, 40),
        (("underfit", CLEAN, 0.0, "calibration_error"), 0.05, 40),
        (("standard", "stylized", 0.6, "calibration_error"), 0.45, 40),
        ((ROBUST, CLEAN, 0.0, "salience_outline"), 0.375, 12),
        (("standard", "stylized", 0.6, "salience_rank_correlation"), 0.75, 12),
    ],
)
def test_records(reported: Path, key: tuple[str, str, float, str], value: float, n: int) -> None:
    record = _records(reported)[key]
    assert record.value == pytest.approx(value)
    assert record.n == n
    assert 0 <= record.low <= record.value <= record.high <= 1


def test_measures_that_count_nothing_are_left_out(reported: Path) -> None:
    records = _records(reported)
    assert ("standard", "stylized", 0.6, "shape_bias") not in records
    assert ("standard", CLEAN, 0.0, "robust_accuracy") not in records


def test_error_consistency_of_every_pair(reported: Path) -> None:
    records = loads((reported / "reports/summary.json").read_text())
    found = {(r.method, r.other, r.variant, r.level): r for r in records if r.other is not None}
    pairs = dict.fromkeys((method, other) for method, other, *_ in found)
    assert list(pairs) == [("standard", "underfit"), ("standard", ROBUST), ("underfit", ROBUST)]
    assert {r.measure for r in found.values()} == {"error_consistency"}
    # Right: 30 of one, the same and 6 more of the other. (0.85 - 0.7) / (1 - 0.7)
    clean = found["underfit", ROBUST, CLEAN, 0.0]
    assert (clean.value, clean.n) == (pytest.approx(0.5), 40)
    assert clean.low < clean.value < clean.high
    assert not {"pgd_linf", "pgd_l2"} & {variant for _, _, variant, _ in found}


def test_records_have_the_order_of_the_run(reported: Path) -> None:
    methods = dict.fromkeys(method for method, *_ in _records(reported))
    assert list(methods) == ["standard", "underfit", ROBUST]


def test_claims_file(reported: Path) -> None:
    claims = json.loads((reported / "reports/claims.json").read_text())
    assert len(claims) == 12
    stylized = claims[0]
    assert (stylized["reference"], stylized["variant"]) == ("standard", "stylized")
    assert stylized["verdict"] == "supported"
    assert stylized["comparison"]["p"] == pytest.approx(2 / 2**20)  # 20 images, all for one side
    assert stylized["p"] > stylized["comparison"]["p"]


def test_metrics(reported: Path) -> None:
    folder = reported / "reports/metrics/shapes"
    assert {file.stem for file in folder.iterdir()} == set(COUNTS)
    # Of 40 images, 34 within 4/255, 32 within 8/255; of the first 20 all.
    assert json.loads((folder / f"{ROBUST}.json").read_text()) == {
        "accuracy": 0.9,
        "robust_accuracy": 0.8,
        "auto_attack": 1.0,
        "shape_bias": 0.9744,
    }


def test_curves(reported: Path) -> None:
    with (reported / "reports/curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0], "other", "map"] == list(Record.__dataclass_fields__)
    drawn = {(row["variant"], row["measure"]) for row in rows}
    assert ("pgd_linf", "robust_accuracy") in drawn
    assert ("saturated", "accuracy_on_correct") in drawn
    assert len(rows) == 3 * 11


def test_figures(reported: Path) -> None:
    figures = sorted(path.name for path in (reported / "reports/figures/shapes").iterdir())
    assert figures == [
        "auto_attack_linf.png",
        "cue_conflict.png",
        "learning.png",
        "patch_shuffled.png",
        "pgd_l2.png",
        "pgd_linf.png",
        "salience_gradient.png",
        "salience_outlines.png",
        "salience_smoothgrad.png",
        "saturated.png",
        "shape_bias_by_class.png",
        "stylized.png",
    ]
    assert all(
        (reported / "reports/figures/shapes" / name).read_bytes().startswith(b"\x89PNG")
        for name in figures
    )


def test_equal_artifacts_give_equal_bytes(reported: Path, workspace: Path) -> None:
    report.main()
    files = [path for path in (reported / "reports").rglob("*") if path.is_file()]
    assert len(files) == 19
    for path in files:
        again = workspace / path.relative_to(reported)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_an_old_report_is_replaced_as_a_whole(workspace: Path) -> None:
    stale = workspace / "reports/figures/gone/old.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    write_params(controls=[])
    report.main()
    assert not stale.exists()
    assert "underfit" not in (workspace / "reports/summary.json").read_text()


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        (paths.dataset_info("shapes"), "prepare"),
        (paths.predictions("shapes", "standard", 0), "evaluate"),
        (paths.quality("shapes", "saturated"), "quality"),
        (paths.training("shapes", ROBUST, 0), "train"),
        (paths.curve("shapes", "underfit", 0), "train_control"),
        (paths.salience_maps("shapes", ROBUST, 0), "salience"),
        (paths.salience_measures("shapes", "underfit", 0), "salience_control"),
        (paths.predictions("shapes", "underfit", 0), "evaluate_control"),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else value,
)
@pytest.mark.usefixtures("workspace")
def test_missing_file(path: Path, stage: str) -> None:
    path.unlink()
    with pytest.raises(UserError, match=f"no such file; run the stage {stage} first") as caught:
        report.main()
    assert str(path) in str(caught.value)
    assert not Path("reports").exists()


@pytest.mark.parametrize(
    "path",
    [
        paths.dataset_info("shapes"),
        paths.salience_maps("shapes", "standard", 0),
        paths.salience_measures("shapes", "standard", 0),
        paths.predictions("shapes", "standard", 0),
    ],
    ids=lambda path: path.name,
)
@pytest.mark.usefixtures("workspace")
def test_file_of_another_format(path: Path) -> None:
    path.write_text("[")
    with pytest.raises(UserError, match="not"):
        report.main()


@pytest.mark.usefixtures("workspace")
def test_variant_that_is_no_longer_selected() -> None:
    write_params(variants=["stylized", "patch_shuffled", "cue_conflict"])
    with pytest.raises(UserError, match=r"'saturated' is not in run\.variants; run the stage"):
        report.main()


@pytest.mark.usefixtures("workspace")
def test_answers_without_clean_images() -> None:
    parts = parts_of("standard")[1:]
    predictions.write(parts, CLASSES, paths.predictions("shapes", "standard", 0))
    with pytest.raises(
        UserError, match="shapes, standard, seed 0: the prediction table has no part"
    ):
        report.main()


@pytest.mark.parametrize("method", ["standard", ROBUST])
def test_report_of_one_method_on_clean_images_alone(workspace: Path, method: str) -> None:
    write_params(methods=[method], controls=[], variants=[])
    values = yaml.safe_load(Path("params.yaml").read_text())
    del values["method"]["underfit"]
    Path("params.yaml").write_text(yaml.safe_dump(values))
    predictions.write(parts_of(method)[:1], CLASSES, paths.predictions("shapes", method, 0))
    rmtree(paths.salience("shapes", method, 0))
    write_maps(paths.salience_maps("shapes", method, 0), [(CLEAN, 0.0)])
    write_measures(method, 0, [(CLEAN, 0.0)])
    report.main()
    page = Page((workspace / "reports/index.html").read_text())
    assert "no adversarially trained network beside an ordinary one to compare" in page.text


def test_the_docs_name_the_figures_that_dvc_shows(reported: Path) -> None:
    text = (ROOT / "docs/artifacts.md").read_text().partition("| figure | what |")[2]
    named = re.findall(r"^\| `(\w+)` \|", text.partition("\n\n")[0], re.MULTILINE)
    shown = json.loads((reported / "reports/metrics/shapes/standard.json").read_text())
    assert named == list(shown)


def test_the_docs_name_the_keys_of_a_claim(reported: Path) -> None:
    text = (ROOT / "docs/artifacts.md").read_text().partition("`claims.json` has each claim")[2]
    (claim, *_) = json.loads((reported / "reports/claims.json").read_text())
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(claim)
