"""Measures on tables small enough to count by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from atcore.evaluation.predictions import Predictions
from atcore.images.table import CLEAN
from atcore.measures.accuracy import accuracy, accuracy_on_correct, top3_accuracy
from atcore.measures.conflicts import shape_bias, shape_bias_by_class, shape_rate, texture_rate
from atcore.statistics.proportions import Proportion

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
