"""What several trainings of one method say together: the mean over seeds and its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Mean over `seeds` networks with its 95% interval; min and max are those of one network.

    Attributes:
        n: images that count, the fewest of any seed.
    """

    value: float
    low: float
    high: float
    n: int
    seeds: int
    min: float
    max: float


def _central(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) tan(angle)) of Student's t with a whole number of degrees of freedom.

    Abramowitz & Stegun 1964, "Handbook of mathematical functions", 26.7.3 and 26.7.4.
    """
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    terms = 0.0
    for power in range(odd, freedom - 1, 2):
        terms += term
        term *= (power + 1) / (power + 2) * math.cos(angle) ** 2
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * terms)
    return math.sin(angle) * terms


def t_quantile(freedom: int) -> float:
    """97.5% quantile of Student's t distribution, for two-sided 95% intervals; freedom >= 1."""
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        if _central(middle, freedom) < _CONFIDENCE:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def spread(values: Sequence[float], n: Sequence[int], *, least: float = 0.0) -> Spread | None:
    """Mean of one measure over seeds; None with fewer than two, which say nothing of a spread.

    The interval is Student's (1908, "The probable error of a mean", Biometrika 6), cut to the range
    of the measure. It describes the luck of training on these images, not that of drawing them.

    Args:
        values: of each seed, least to 1.
        n: images that count, of each seed.
    """
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    # Rounding may put the mean of equal values beside them.
    mean = min(max(fmean(values), low), high)
    half = t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Spread(
        value=mean,
        low=max(least, mean - half),
        high=min(1.0, mean + half),
        n=min(n),
        seeds=len(values),
        min=low,
        max=high,
    )
