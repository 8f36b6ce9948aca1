"""Measures that are no proportions, each with a bootstrap interval over the images.

Percentile intervals (Efron 1979, "Bootstrap methods: another look at the jackknife", Annals of
Statistics 7) of 1,000 resamples, widened where needed to contain the value itself. The resamples
are a function of the number of images alone: all networks and variants see the same ones.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from atcore.base.rng import numpy_rng

RESAMPLES = 1000
_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A value of `n` images with its 95% interval; low <= value <= high."""

    value: float
    low: float
    high: float
    n: int


def estimate(value: float, resampled: NDArray[np.floating], n: int) -> Estimate:
    """A value of n images, with its interval from the values of resamples (none: no width)."""
    low, high = np.quantile(resampled, [0.025, 0.975]) if len(resampled) else (value, value)
    return Estimate(value, min(value, float(low)), max(value, float(high)), n)


def resampling(n: int) -> np.random.Generator:
    """What draws the resamples of n images."""
    return numpy_rng(_SEED, "bootstrap", n)


@lru_cache(maxsize=4)
def resamples(n: int) -> NDArray[np.float32]:
    """How often each of n images is drawn, RESAMPLES x n; rows sum to n."""
    rng = resampling(n)
    drawn = (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(RESAMPLES))
    return np.stack([row.astype(np.float32) for row in drawn])


def mean(values: NDArray[np.floating]) -> Estimate | None:
    """Mean of one value per image; NaN is none, and None without any."""
    known = ~np.isnan(values)
    n = int(known.sum())
    if not n:
        return None
    weights = resamples(len(values))
    total = weights @ np.where(known, values, 0).astype(np.float32)
    # A resample may be of images without a value alone.
    with np.errstate(invalid="ignore"):
        resampled = total / (weights @ known.astype(np.float32))
    value = float(values[known].mean(dtype=np.float64))
    return estimate(value, resampled[~np.isnan(resampled)], n)
