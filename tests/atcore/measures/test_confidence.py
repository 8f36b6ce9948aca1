"""Confidence, calibration and error consistency on tables small enough to compute by hand."""

from dataclasses import replace

import numpy as np
import pytest

from atcore.evaluation.predictions import Predictions
from atcore.images.table import CLEAN
from atcore.measures.confidence import calibration_error, error_consistency, mean_confidence


def answers(right: list[int], top1: list[float] | None = None) -> Predictions:
    n = len(right)
    predicted = np.where(np.array(right, bool), 0, 1)
    probabilities = np.zeros((n, 3), np.float32)
    probabilities[:, 0] = 0.5 if top1 is None else top1
    return Predictions(
        variant=CLEAN,
        level=0.0,
        ids=np.arange(n, dtype=np.int64),
        labels=np.zeros(n, np.int32),
        top3=np.stack([predicted, 1 - predicted, np.full(n, 2)], 1).astype(np.int32),
        probabilities=probabilities,
    )


def pair(both: int, first: int, second: int, neither: int) -> tuple[Predictions, Predictions]:
    """Two networks by how many images both, only one, or none of them gets right."""
    one = [1] * both + [1] * first + [0] * second + [0] * neither
    other = [1] * both + [0] * first + [1] * second + [0] * neither
    return answers(one), answers(other)


def test_mean_confidence() -> None:
    found = mean_confidence(answers([1, 0, 1, 1], [0.9, 0.5, 0.4, 1.0]))
    assert found is not None
    assert found.value == pytest.approx(0.7)
    assert found.n == 4
    assert 0.4 <= found.low < 0.7 < found.high <= 1


def test_interval_of_the_mean_is_that_of_the_central_limit() -> None:
    top1 = np.random.default_rng(0).uniform(0.3, 0.9, 2000)
    found = mean_confidence(answers([1] * 2000, list(top1)))
    assert found is not None
    half = 1.96 * top1.std() / np.sqrt(2000)
    assert found.low == pytest.approx(top1.mean() - half, abs=half / 6)
    assert found.high == pytest.approx(top1.mean() + half, abs=half / 6)


@pytest.mark.parametrize(
    ("right", "top1", "expected"),
    [
        # One bin, (0.8667, 0.9333]: accuracy 3/4, confidence 0.9.
        ([1, 1, 1, 0], [0.9, 0.9, 0.9, 0.9], 0.15),
        # Two bins with 2 images each: |1/2 - 0.5| and |1 - 0.95|.
        ([1, 0, 1, 1], [0.5, 0.5, 0.95, 0.95], 0.025),
        # Within one bin errors of either sign cancel: accuracy 1/2, confidence 0.62.
        ([1, 0], [0.61, 0.63], 0.12),
        # 1 and 0 have bins, the last and the first.
        ([1, 0], [1.0, 0.0], 0.0),
        ([0, 0], [1.0, 1.0], 1.0),
    ],
)
def test_calibration_error(right: list[int], top1: list[float], expected: float) -> None:
    found = calibration_error(answers(right, top1))
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert 0 <= found.low <= found.value <= found.high <= 1 + 1e-6


def test_bins_are_fifteenths() -> None:
    # 0.2 is 3/15, so the two lie in different bins: |1 - 0.19| and |0 - 0.21|.
    found = calibration_error(answers([1, 0], [0.19, 0.21]))
    assert found is not None
    assert found.value == pytest.approx((0.81 + 0.21) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        # Observed 35/50, expected (25 x 30 + 25 x 20) / 50^2 = 1/2.
        ((20, 5, 10, 15), 0.4),
        ((10, 0, 0, 5), 1.0),
        ((0, 8, 8, 0), -1.0),
        # Independent: 3/4 and 2/3 right.
        ((6, 3, 2, 1), 0.0),
    ],
)
def test_error_consistency(table: tuple[int, int, int, int], kappa: float) -> None:
    found = error_consistency(*pair(*table))
    assert found is not None
    assert found.value == pytest.approx(kappa, abs=1e-12)
    assert found.n == sum(table)
    assert -1 - 1e-9 <= found.low <= found.value <= found.high <= 1 + 1e-9


def test_interval_of_kappa_is_that_of_its_standard_error() -> None:
    found = error_consistency(*pair(400, 100, 200, 300))
    assert found is not None
    # Fleiss, Cohen, Everitt 1969, equation 13, by hand for this table: kappa 0.4.
    observed, expected = 0.7, 0.5
    error = np.sqrt(observed * (1 - observed) / 1000) / (1 - expected)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)


@pytest.mark.parametrize(
    "table", [(5, 0, 0, 0), (0, 0, 0, 5), (0, 0, 0, 0), (7, 3, 0, 0), (0, 0, 1, 9)]
)
def test_no_consistency_without_errors_to_share(table: tuple[int, int, int, int]) -> None:
    assert error_consistency(*pair(*table)) is None


def test_images_are_matched_by_id() -> None:
    first = answers([1, 0, 0])
    second = replace(answers([0, 1, 1]), ids=np.array([2, 0, 7], np.int64))
    found = error_consistency(first, second)
    assert found is not None
    assert (found.n, found.value) == (2, 1.0)


def test_nothing_has_no_value() -> None:
    assert mean_confidence(answers([])) is None
    assert calibration_error(answers([])) is None


def test_equal_tables_give_equal_intervals() -> None:
    rng = np.random.default_rng(1)
    part = answers(list(rng.integers(0, 2, 300)), list(rng.random(300)))
    other = answers(list(rng.integers(0, 2, 300)))
    assert calibration_error(part) == calibration_error(part)
    assert error_consistency(part, other) == error_consistency(part, other)
