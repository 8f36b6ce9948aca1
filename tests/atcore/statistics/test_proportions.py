"""Shares of images and Wilson's intervals of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atcore.statistics.proportions import Proportion


# From scipy 1.17.1: scipy.stats.binomtest(k, n).proportion_ci(0.95, "wilson").
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.27753279986288926),
        (1, 10, 0.017876213095072896, 0.4041500267952385),
        (5, 10, 0.236593090512564, 0.7634069094874361),
        (10, 10, 0.7224672001371109, 1.0),
        (998, 1000, 0.9927371921365078, 0.9994513564118792),
        (1, 1, 0.20654931437723745, 1.0),
    ],
)
def test_interval_is_wilsons(successes: int, n: int, low: float, high: float) -> None:
    assert Proportion(successes, n).interval == pytest.approx((low, high), abs=1e-12)


counts = st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_interval_contains_the_value_and_lies_in_0_1(count: tuple[int, int]) -> None:
    proportion = Proportion(*count)
    low, high = proportion.interval
    assert 0 <= low <= proportion.value <= high <= 1
    assert low < high


@given(counts)
def test_interval_of_the_complement_is_mirrored(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = Proportion(successes, n).interval
    assert Proportion(n - successes, n).interval == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(counts)
def test_interval_narrows_with_more_images(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = Proportion(successes, n).interval
    more = Proportion(4 * successes, 4 * n).interval
    assert more[1] - more[0] < high - low


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        Proportion(successes, n)
