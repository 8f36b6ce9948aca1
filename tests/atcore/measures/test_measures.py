"""Measures on tables small enough to count by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atcore.evaluation.predictions import CLEAN, Predictions
from atcore.measures.accuracy import (
    Outcomes,
    Proportion,
    accuracy,
    accuracy_on_correct,
    shape_bias,
    shape_bias_by_class,
    shape_rate,
    slopes,
    texture_rate,
    top3_accuracy,
)

Measure = Callable[[Predictions], Proportion | None]


def answers(
    variant: str,
    *,
    ids: list[int],
    labels: list[int],
    top3: list[list[int]],
    textures: list[int] | None = None,
) -> Predictions:
    return Predictions(
        variant=variant,
        level=0.0,
        ids=np.array(ids, np.int64),
        labels=np.array(labels, np.int32),
        top3=np.array(top3, np.int32).reshape(len(ids), 3),
        probabilities=np.zeros((len(ids), 3), np.float32),
        texture_labels=None if textures is None else np.array(textures, np.int32),
    )


EMPTY = answers(CLEAN, ids=[], labels=[], top3=[], textures=[])
# Images 10, 11, 12 are right when clean; 13 and 14 are not.
CLEAN_ANSWERS = answers(
    CLEAN,
    ids=[10, 11, 12, 13, 14],
    labels=[0, 1, 2, 3, 4],
    top3=[[0, 1, 2], [1, 0, 2], [2, 0, 1], [0, 1, 3], [0, 1, 2]],
)


def test_accuracy_counts_the_most_probable_class() -> None:
    assert accuracy(CLEAN_ANSWERS) == Proportion(3, 5)


def test_top3_accuracy_counts_any_of_three() -> None:
    assert top3_accuracy(CLEAN_ANSWERS) == Proportion(4, 5)


def test_top3_accuracy_does_not_count_padding() -> None:
    two_classes = answers(CLEAN, ids=[1, 2], labels=[0, 1], top3=[[0, 1, -1], [0, 1, -1]])
    assert top3_accuracy(two_classes) == Proportion(2, 2)


def test_accuracy_on_correct_leaves_out_what_was_wrong_when_clean() -> None:
    changed = answers(
        "saturated",
        ids=[10, 11, 12, 13, 14],
        labels=[0, 1, 2, 3, 4],
        top3=[[0, 1, 2], [0, 1, 2], [2, 1, 0], [3, 0, 1], [4, 0, 1]],
    )
    assert accuracy(changed) == Proportion(4, 5)
    assert accuracy_on_correct(changed, CLEAN_ANSWERS) == Proportion(2, 3)


def test_accuracy_on_correct_matches_images_by_id() -> None:
    reordered_subset = answers(
        "saturated", ids=[14, 12, 11], labels=[4, 2, 1], top3=[[4, 0, 1], [2, 0, 1], [0, 1, 2]]
    )
    assert accuracy_on_correct(reordered_subset, CLEAN_ANSWERS) == Proportion(1, 2)


def test_accuracy_on_correct_of_a_network_that_knew_nothing_has_no_value() -> None:
    ignorant = answers(CLEAN, ids=[1], labels=[0], top3=[[1, 2, 3]])
    assert accuracy_on_correct(ignorant, ignorant) is None


# Answers: shape, shape, texture, neither, and one image whose texture is its own class.
CONFLICTS = answers(
    "cue_conflict",
    ids=[1, 2, 3, 4, 5],
    labels=[0, 1, 2, 3, 4],
    top3=[[0, 1, 2], [1, 0, 2], [7, 2, 0], [5, 3, 6], [4, 0, 1]],
    textures=[1, 2, 7, 6, 4],
)


def test_shape_bias_counts_decisions_for_shape_or_texture_on_conflicts_only() -> None:
    assert shape_bias(CONFLICTS) == Proportion(2, 3)


def test_shape_bias_by_class_of_the_shape() -> None:
    # Class 3 names neither, the shape of class 4 is its texture, and no image shows a 5.
    expected = [Proportion(1, 1), Proportion(1, 1), Proportion(0, 1), None, None, None]
    assert shape_bias_by_class(CONFLICTS, 6) == expected


def test_shape_and_texture_rates_count_all_conflicts() -> None:
    assert shape_rate(CONFLICTS) == Proportion(2, 4)
    assert texture_rate(CONFLICTS) == Proportion(1, 4)


@pytest.mark.parametrize("measure", [shape_bias, shape_rate, texture_rate])
def test_no_shape_bias_without_texture_labels(measure: Measure) -> None:
    assert measure(CLEAN_ANSWERS) is None


def test_no_shape_bias_where_textures_agree_with_shapes() -> None:
    agreeing = answers("x", ids=[1], labels=[2], top3=[[2, 0, 1]], textures=[2])
    assert shape_bias(agreeing) is None


def test_no_shape_bias_where_every_answer_names_neither() -> None:
    neither = answers("x", ids=[1], labels=[2], top3=[[0, 1, 2]], textures=[3])
    assert shape_bias(neither) is None
    assert shape_rate(neither) == Proportion(0, 1)


@pytest.mark.parametrize("measure", [accuracy, top3_accuracy, shape_bias, shape_rate, texture_rate])
def test_nothing_has_no_value(measure: Measure) -> None:
    assert measure(EMPTY) is None


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


def test_slopes_by_hand() -> None:
    # Images 7, 8, 9 at four levels; ranks -1.5, -0.5, 0.5, 1.5, whose squares sum to 5.
    hits = {7: [1, 1, 1, 0], 8: [1, 0, 1, 0], 9: [0, 0, 1, 1]}
    found = slopes([level_of({i: h[at] for i, h in hits.items()}) for at in range(4)])
    assert found.ids.tolist() == [7, 8, 9]
    assert found.values.tolist() == pytest.approx([-1.5 / 5, -1.0 / 5, 2.0 / 5])


def level_of(hits: dict[int, int]) -> Outcomes:
    return Outcomes(np.array([*hits], np.int64), np.array([*hits.values()], np.bool_))


def test_slopes_are_of_the_images_that_count_at_every_level() -> None:
    found = slopes([level_of({3: 1, 1: 0, 2: 1}), level_of({2: 0, 9: 1, 1: 1})])
    assert (found.ids.tolist(), found.values.tolist()) == ([1, 2], [1.0, -1.0])
    assert len(slopes([level_of({1: 1}), level_of({2: 1})]).ids) == 0


@given(
    st.integers(2, 6).flatmap(
        lambda levels: st.lists(
            st.lists(st.integers(0, 1), min_size=levels, max_size=levels), min_size=1, max_size=5
        )
    )
)
def test_slopes_are_those_of_least_squares(hits: list[list[int]]) -> None:
    found = slopes([level_of(dict(enumerate(at))) for at in zip(*hits, strict=True)])
    expected = [stats.linregress(range(len(one)), one).slope for one in hits]
    assert found.values.tolist() == pytest.approx(expected, abs=1e-6)
