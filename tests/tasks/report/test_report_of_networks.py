"""The report on networks that were trained elsewhere: beside trained ones, alone, among seeds."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from report_artifacts import (
    CLASSES,
    FACTS,
    GIVEN,
    ROBUST,
    Page,
    parts_of,
    write_artifacts,
    write_given,
    write_params,
)
from scipy import stats

from atcore.base.errors import UserError
from atcore.evaluation import predictions
from atcore.report.records import Results, loads
from tasks import report
from tasks.tools import show
from tasks.workspace import paths


def text_of(folder: Path) -> str:
    report.main()
    return Page((folder / "reports/index.html").read_text()).text


@pytest.fixture
def beside(workspace: Path) -> str:
    """The page of a run with one network of the user's beside three that were trained."""
    write_given()
    write_params(networks=[GIVEN])
    return text_of(workspace)


def test_the_page_says_what_it_is(beside: str) -> None:
    told = beside.split("Networks of yours They were trained elsewhere")[1]
    row = f"{GIVEN} {FACTS.source} {FACTS.architecture} 11,689,512 {FACTS.remarks[0]}"
    assert row in told
    # Of its training the page says nothing.
    training = beside.split("Training Learning curves", maxsplit=1)[0]
    assert GIVEN in training
    assert "networks trained in fp32 (standard, underfit) and bf16" in beside


def test_it_is_compared_with_the_ordinary_network_and_the_papers_claims_stay(
    beside: str, reported: Path
) -> None:
    claims = json.loads(Path("reports/claims.json").read_text())
    papers = json.loads((reported / "reports/claims.json").read_text())
    assert claims[: len(papers)] == papers
    own = claims[len(papers) :]
    assert {(c["method"], c["reference"], c["claimed"]) for c in own} == {(GIVEN, "standard", 0)}
    verdicts = {(c["variant"], c["measure"]): c["verdict"] for c in own}
    assert verdicts["cue_conflict", "shape_bias"] == "more"
    assert verdicts["pgd_linf", "robust_accuracy"] == "more"
    assert verdicts["stylized", "accuracy_on_correct"] == "not decided"
    assert verdicts["clean", "salience_outline"] == "not decided"
    # All 40 images, at 4/255: 26 more right by the network, of 30 and 4; at 8/255 26 of 26.
    attacked = next(c for c in own if c["variant"] == "pgd_l2")
    assert attacked["comparison"]["n"] == 40
    assert attacked["comparison"]["effect"] == pytest.approx(26 / 40)
    assert attacked["comparison"]["p"] == pytest.approx(stats.binomtest(0, 26).pvalue)
    assert "Networks of yours, compared Nothing is claimed of them" in beside
    assert f"{GIVEN} compared with standard: more: accuracy under attack (PGD L∞)" in beside
    assert "the same sign at 2 of 2 levels" in beside


def test_it_is_less_of_what_it_has_less(workspace: Path) -> None:
    write_given()
    # The ordinary network decides by shape, and stands the attacks.
    strong = [part for part in parts_of(ROBUST) if part.variant != "clean"]
    tables = {"standard": [*parts_of("standard")[:1], *strong], GIVEN: parts_of("underfit")}
    for method, parts in tables.items():
        predictions.write(parts, CLASSES, paths.predictions("shapes", method, 0))
    write_params(methods=["standard"], controls=[], networks=[GIVEN])
    text = text_of(workspace)
    assert f"{GIVEN} compared with standard: less: accuracy under attack (PGD L∞)" in text
    # Both are named where no adversarially trained network is.
    assert "that follow the shape where it and the texture disagree: standard 97.4% [" in text


def test_alone_it_is_compared_with_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("curves", "predictions", "salience"):
        rmtree(folder)
    write_given()
    write_params(methods=[], controls=[], networks=[GIVEN])
    text = text_of(workspace)
    assert "networks trained elsewhere" in text
    assert f"texture disagree: {GIVEN} 83.3% [68.1, 92.1] (n = 36)." in text
    assert "Learning curves" not in text
    assert f"{GIVEN} compared with" not in text
    assert json.loads(Path("reports/claims.json").read_text()) == []
    assert not Path("reports/figures/shapes/learning.png").exists()
    capsys.readouterr()
    show.main()
    assert f"{GIVEN}  95.0" in capsys.readouterr().out


def test_beside_several_seeds_it_stays_one_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_artifacts(3, 4)
    write_given()
    write_params(seeds=[3, 4], networks=[GIVEN])
    text = text_of(tmp_path)
    results = Results(tuple(loads(Path("reports/summary.json").read_text())))
    assert results.methods == ["standard", "underfit", ROBUST, GIVEN]
    own = results.get(GIVEN, "stylized", 0.6, "accuracy_on_correct")
    trained = results.get("standard", "stylized", 0.6, "accuracy_on_correct")
    assert own is not None
    assert trained is not None
    assert (own.seed, own.seeds, trained.seed, trained.seeds) == (0, 1, None, 2)
    consistency = results.get("standard", "clean", 0.0, "error_consistency", GIVEN)
    assert consistency is None  # `standard` is always right
    assert results.get("underfit", "clean", 0.0, "error_consistency", GIVEN) is not None
    claims = json.loads(Path("reports/claims.json").read_text())
    stylized = next(c for c in claims if c["method"] == GIVEN and c["variant"] == "stylized")
    # Of the 38 images that both know: 12 against those of seed 3, and of seed 4.
    assert len(stylized["effects_by_seed"]) == 2
    assert "A figure of theirs is of one network, whatever the number of seeds." in text


def test_one_that_guesses_is_not_compared_and_said_to_guess(workspace: Path) -> None:
    write_given()
    write_params(networks=[GIVEN])
    clean, *others = parts_of(GIVEN)
    wrong = np.stack([(clean.labels + more) % 4 for more in (1, 2, 3)], 1).astype(np.int32)
    answers = [replace(clean, top3=wrong), *others]
    predictions.write(answers, CLASSES, paths.predictions("shapes", GIVEN, 0))
    text = text_of(workspace)
    said = f"{GIVEN} is not clearly better than a guess on clean images"
    assert f"{said}, and nothing is tested on it: see what is said of it below." in text
    assert f"{GIVEN} compared with" not in text


@pytest.mark.parametrize("content", ["[", "{}", '{"source": 1}'])
@pytest.mark.usefixtures("workspace")
def test_facts_of_another_format(content: str) -> None:
    write_given()
    write_params(networks=[GIVEN])
    file = paths.training("shapes", GIVEN, 0)
    file.write_text(content)
    with pytest.raises(UserError, match="not what the stage network writes"):
        report.main()
    file.unlink()
    with pytest.raises(UserError, match="no such file; run the stage network first"):
        report.main()
