"""Paired tests against scipy and by hand."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from atcore.statistics.comparison import Comparison, holm, paired, paired_means, sign_flip_p
from atcore.statistics.outcomes import Outcomes


def outcomes(hits: list[int], ids: list[int] | None = None) -> Outcomes:
    ids = list(range(len(hits))) if ids is None else ids
    return Outcomes(np.array(ids, np.int64), np.array(hits, np.bool_))


def paired_answers(only_first: int, only_second: int, same: int) -> tuple[Outcomes, Outcomes]:
    first = [1] * only_first + [0] * only_second + [1] * same
    second = [0] * only_first + [1] * only_second + [1] * same
    return outcomes(first), outcomes(second)


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(5, 0), (8, 2), (2, 8), (30, 21), (400, 330), (1, 0), (3, 3)]
)
def test_at_one_level_the_test_is_mcnemars_exact_one(only_first: int, only_second: int) -> None:
    first, second = paired_answers(only_first, only_second, same=50)
    compared = paired([first], [second])
    assert compared is not None
    expected = stats.binomtest(only_first, only_first + only_second).pvalue
    assert compared.p == pytest.approx(expected, abs=1e-12)
    assert compared.n == only_first + only_second + 50


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_sign_flips_are_all_counted(differences: list[int]) -> None:
    sums = np.array([0])
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    share = float((np.abs(sums) >= abs(sum(differences))).mean())
    assert sign_flip_p(np.array(differences)) == pytest.approx(share, abs=1e-12)


def test_sign_flips_against_scipy() -> None:
    differences = np.array([3, 2, 2, -1, 3, 0, 1, -2, 1, 1])
    expected = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda x, y: (x - y).sum(),
        permutation_type="samples",
        n_resamples=10_000,
    )
    assert sign_flip_p(differences) == pytest.approx(float(expected.pvalue), abs=1e-12)


def test_many_images_and_levels_stay_exact() -> None:
    differences = np.repeat([8, 5, 2, -1, -7, 0], [900, 1000, 800, 1500, 1150, 4000])
    expected = 2 * stats.norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum()))
    assert sign_flip_p(differences) == pytest.approx(expected, rel=0.02)


def test_interval_at_one_level_is_agrestis_and_mins() -> None:
    first, second = paired_answers(8, 2, same=30)
    compared = paired([first], [second])
    assert compared is not None
    assert compared.effect == pytest.approx(6 / 40)
    # (8 - 2) / 42 -+ 1.96 sqrt((8 + 2 + 1) - 6^2 / 42) / 42
    half = 1.959964 * np.sqrt(11 - 36 / 42) / 42
    assert (compared.low, compared.high) == pytest.approx((6 / 42 - half, 6 / 42 + half), abs=1e-6)


def test_an_image_counts_once_however_many_levels_it_has() -> None:
    first, second = paired_answers(6, 0, same=4)
    once, thrice = paired([first], [second]), paired([first] * 3, [second] * 3)
    assert once is not None
    assert thrice is not None
    assert thrice.n == once.n == 10
    assert (thrice.effect, thrice.p) == pytest.approx((once.effect, once.p))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_images_are_matched_by_id_and_counted_where_both_have_them() -> None:
    first = outcomes([1, 1, 0], ids=[3, 1, 2])
    second = outcomes([0, 1, 1], ids=[1, 3, 9])
    compared = paired([first], [second])
    assert compared is not None
    assert (compared.n, compared.effect, compared.p) == (2, 0.5, 1.0)


def test_levels_may_count_different_images() -> None:
    first = [outcomes([1, 1], ids=[1, 2]), outcomes([1], ids=[2])]
    second = [outcomes([0, 1], ids=[1, 2]), outcomes([0], ids=[2])]
    compared = paired(first, second)
    assert compared is not None
    assert (compared.n, compared.effect) == (2, pytest.approx(2 / 3))
    assert compared.p == pytest.approx(0.5)


def test_networks_that_never_differ_have_an_interval_of_some_width() -> None:
    same = outcomes([1, 0, 1])
    compared = paired([same], [same])
    assert compared is not None
    assert (compared.effect, compared.p) == (0.0, 1.0)
    assert -1 <= compared.low < 0 < compared.high <= 1


@pytest.mark.parametrize("second", [[], [7, 8]])
def test_no_common_image_no_comparison(second: list[int]) -> None:
    answered = [outcomes([1] * len(second), ids=second)]
    assert paired([outcomes([1, 0])], answered) is None


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_exchanging_the_networks_mirrors_the_comparison(one: int, other: int, same: int) -> None:
    first, second = paired_answers(one, other, same)
    there, back = paired([first], [second]), paired([second], [first])
    assert there is not None
    assert back is not None
    assert -1 <= there.low <= there.effect <= there.high <= 1
    assert there.low < there.high
    mirrored = Comparison(-back.effect, -back.high, -back.low, back.p, back.n)
    assert there.n == mirrored.n
    assert (there.effect, there.low, there.high, there.p) == pytest.approx(
        (mirrored.effect, mirrored.low, mirrored.high, mirrored.p), abs=1e-12
    )


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.03], [0.03]),
        # 0.01 x 3, 0.02 x 2, 0.03 x 1 but not below the one before it.
        ([0.01, 0.02, 0.03], [0.03, 0.04, 0.04]),
        ([0.04, 0.005, 0.03], [0.06, 0.015, 0.06]),
        ([0.9, 0.6, 0.001], [1.0, 1.0, 0.003]),
    ],
)
def test_holm(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


def test_the_smallest_p_value_is_that_of_one_exchange_and_its_mirror_image() -> None:
    assert sign_flip_p(np.full(200, 3)) == 0.5**199


# --- real numbers ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Values:
    ids: NDArray[np.int64]
    values: NDArray[np.float32]


def values_of(*numbers: float, first: int = 0) -> Values:
    ids = np.arange(first, first + len(numbers), dtype=np.int64)
    return Values(ids, np.array(numbers, np.float32))


def test_means_are_compared_on_the_images_that_both_have_a_value_of() -> None:
    one = values_of(0.5, 0.75, float("nan"), 0.5)
    found = paired_means([one], [values_of(0.25, 0.5, 0.5, first=1)])
    assert found is not None
    # Images 1 and 3: 0.75 - 0.25 and 0.5 - 0.5.
    assert (found.n, found.effect) == (2, 0.25)
    assert found.low <= found.effect <= found.high
    assert found.p == 1.0
    assert paired_means([one], [values_of(1.0, first=9)]) is None
    assert paired_means([], []) is None


def permutation_p(differences: NDArray[np.floating]) -> float:
    found = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    return float(found.pvalue)


def test_the_test_of_means_is_the_exact_permutation_test() -> None:
    # Whole hundredths of the largest, which the test does not round.
    differences = np.append(np.random.default_rng(3).integers(-60, 90, size=11), 100) / 100
    found = paired_means([values_of(*differences)], [values_of(*[0.0] * 12)])
    assert found is not None
    assert found.p == pytest.approx(permutation_p(np.rint(100 * differences)))


def test_rounding_hardly_changes_the_test_of_means() -> None:
    differences = np.random.default_rng(4).normal(0.02, 0.05, 12)
    found = paired_means([values_of(*differences)], [values_of(*[0.0] * 12)])
    assert found is not None
    assert found.p == pytest.approx(permutation_p(differences), rel=0.05)


def test_an_image_of_several_seeds_counts_once_with_the_mean_of_its_differences() -> None:
    found = paired_means(
        [values_of(0.5, 1.0), values_of(0.5, 0.5)], [values_of(0.0, 0.0), values_of(0.25, 0.0)]
    )
    assert found is not None
    assert (found.n, found.effect) == (2, pytest.approx((0.375 + 0.75) / 2))
    assert found.p == pytest.approx(0.5)
