"""Means and their bootstrap intervals."""

import numpy as np
import pytest

from atcore.statistics.estimates import mean


def test_a_mean_leaves_out_images_without_a_value() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 200).astype(np.float32)
    found = mean(values)
    assert found is not None
    assert (found.n, found.value) == (200, pytest.approx(values.mean()))
    half = 1.96 * values.std() / np.sqrt(200)
    normal = (found.value - half, found.value + half)
    assert (found.low, found.high) == pytest.approx(normal, abs=0.003)
    some = np.where(np.arange(200) % 4 == 0, np.float32("nan"), values)
    fewer = mean(some)
    assert fewer is not None
    assert (fewer.n, fewer.value) == (150, pytest.approx(np.nanmean(some)))
    assert fewer.low < fewer.value < fewer.high
    assert mean(np.full(3, np.nan, np.float32)) is None
