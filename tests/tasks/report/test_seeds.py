"""Several seeds: mean and interval by hand, and what the report shows."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_artifacts import ROBUST, Page

from atcore.report.records import Record, Results, loads
from atcore.report.summary import means
from atcore.statistics.seeds import spread
from tasks.tools import show


def test_spread_by_hand() -> None:
    found = spread([0.5, 0.6, 0.7], [40, 38, 39])
    assert found is not None
    # Standard deviation 0.1; t with 2 degrees of freedom is 4.302653 (any table).
    half = 4.302653 * 0.1 / 3**0.5
    assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.6 - half, 0.6 + half))
    assert (found.seeds, found.min, found.max, found.n) == (3, 0.5, 0.7, 38)


def test_two_seeds_that_differ_say_little() -> None:
    # t with 1 degree of freedom is 12.7: the interval is cut to the range of the measure.
    share, kappa = spread([0.4, 0.6], [9, 9]), spread([0.4, 0.6], [9, 9], least=-1)
    assert share is not None
    assert kappa is not None
    assert (share.low, share.high) == (0, 1)
    assert (kappa.low, kappa.high) == (pytest.approx(0.5 - 12.7062 * 0.1, abs=1e-4), 1)


def test_one_seed_has_no_spread() -> None:
    assert spread([0.5], [40]) is None
    assert spread([], []) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_intervals_hold_the_mean_and_stay_within_the_range(values: list[float]) -> None:
    found = spread(values, [1] * len(values))
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.min <= found.value <= found.max


def record(seed: int, value: float, method: str = "m", measure: str = "accuracy") -> Record:
    return Record("d", method, "clean", 0.0, measure, value, 0.0, 1.0, 10, seed)


def test_means_are_taken_over_the_seeds_of_one_measure() -> None:
    records = [
        record(0, 0.5),
        record(0, 0.25, "other"),
        record(4, 0.5),
        record(4, 0.75, "other"),
        record(0, -0.5, measure="error_consistency"),
        record(4, -0.5, measure="error_consistency"),
        record(4, 0.9, measure="shape_bias"),
    ]
    found = means(records)
    assert [(r.method, r.measure, r.value) for r in found] == [
        ("m", "accuracy", 0.5),
        ("other", "accuracy", 0.5),
        ("m", "error_consistency", -0.5),
    ]
    assert {(r.seed, r.seeds, r.n) for r in found} == {(None, 2, 10)}
    assert (found[1].low, found[1].high, found[1].min, found[1].max) == (0, 1, 0.25, 0.75)
    assert found[2].low == -0.5
    assert means(records[:2]) == []


def test_means_are_shown_where_there_are_any() -> None:
    of_seeds = (record(0, 0.5), record(1, 1.0))
    assert Results(of_seeds[:1]).get("m", "clean", 0.0, "accuracy") == of_seeds[0]
    mean = Results((*of_seeds, *means(of_seeds))).get("m", "clean", 0.0, "accuracy")
    assert mean is not None
    assert (mean.value, mean.seed) == (0.75, None)


# --- the report of two seeds: `standard` knows 10 and 12 of 40 stylized images -------------------

PLACE = ("standard", "stylized", 0.6, "accuracy_on_correct")
# t with 1 degree of freedom times the standard error: 12.7062 * 0.05 / 2.
HALF = 0.317655


def test_summary_has_every_network_and_the_means(reported_seeds: Path) -> None:
    records = loads((reported_seeds / "reports/summary.json").read_text())
    found = {
        r.seed: r
        for r in records
        if (r.method, r.variant, r.level, r.measure, r.other) == (*PLACE, None)
    }
    assert {seed: r.value for seed, r in found.items()} == {0: 0.25, 1: 0.3, None: 0.275}
    mean = found[None]
    assert (mean.low, mean.high) == (0, pytest.approx(0.275 + HALF, abs=1e-5))
    assert (mean.n, mean.seeds, mean.min, mean.max) == (40, 2, 0.25, 0.3)
    assert {(r.seeds, r.min, r.max) for seed, r in found.items() if seed is not None} == {
        (1, None, None)
    }
    pairs = {(r.method, r.other) for r in records if r.seed is None and r.other is not None}
    assert ("underfit", ROBUST) in pairs


def test_metrics_and_curves_are_means(reported_seeds: Path) -> None:
    metrics = json.loads((reported_seeds / "reports/metrics/shapes/standard.json").read_text())
    assert metrics["accuracy"] == 1.0
    with (reported_seeds / "reports/curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 11
    assert {(row["seed"], row["seeds"]) for row in rows} == {("", "2")}


def test_claims_have_their_effects_by_seed(reported_seeds: Path) -> None:
    stylized = json.loads((reported_seeds / "reports/claims.json").read_text())[0]
    # Of the 36 images that both know: 30 against 10, 32 against 12.
    assert stylized["effects_by_seed"] == pytest.approx([20 / 36, 20 / 36])
    assert stylized["verdict"] == "supported"


def test_page_says_that_it_shows_means(reported_seeds: Path) -> None:
    text = Page((reported_seeds / "reports/index.html").read_text()).text
    assert "27.5% [0.0, 59.3] n 40 2 seeds: 25.0% to 30.0%" in text
    assert "mean over 2 networks per method (seeds 0, 1)" in text
    assert "95% intervals of the mean over the 2 networks of a method (Student 1908)" in text
    assert "as claimed at 2 of 2 seeds" in text
    assert "(2 seeds, n = 39) of its decisions follow the shape" in text
    assert f"{ROBUST} (seed 1): its robustness collapsed" in text
    assert "The networks are those of seed 0." in text
    assert "Over all 3 levels and 2 seeds +0.0 points" in text


def test_page_of_one_seed_says_so(reported: Path) -> None:
    text = Page((reported / "reports/index.html").read_text()).text
    assert "there is one network per method" in text
    assert "seeds:" not in text
    assert "over seeds" not in text


def test_show_prints_means(
    reported_seeds: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(reported_seeds)
    show.main()
    output = capsys.readouterr().out
    row = next(line for line in output.splitlines() if line.startswith("standard"))
    assert "27.5 ±31.8" in row
    assert "mean over 2 seeds" in " ".join(output.split())
