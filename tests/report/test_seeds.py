"""Mean and interval over seeds: by hand, and against scipy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atcore.report.records import Record, Results
from atcore.report.summary import means
from atcore.seeds import spread, t_quantile


@pytest.mark.parametrize("freedom", [*range(1, 13), 30, 99, 1000])
def test_quantile_of_t(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-10)


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
def test_intervals_are_those_of_scipy_within_the_range(values: list[float]) -> None:
    found = spread(values, [1] * len(values))
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.min <= found.value <= found.max
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, sum(values) / len(values), error or 1e-300)
    assert found.low == pytest.approx(max(0, low), abs=1e-9)
    assert found.high == pytest.approx(min(1, high), abs=1e-9)


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
