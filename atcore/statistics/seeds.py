"""What several trainings of one method say together: the mean over seeds and its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

# Of two-sided 95% intervals.
_QUANTILE = 0.975


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
    # A second that the reports of one seed save.
    from scipy.stats import t  # noqa: PLC0415

    low, high = min(values), max(values)
    # Rounding may put the mean of equal values beside them.
    mean = min(max(fmean(values), low), high)
    freedom = len(values) - 1
    half = float(t.ppf(_QUANTILE, freedom)) * stdev(values) / math.sqrt(len(values))
    return Spread(
        value=mean,
        low=max(least, mean - half),
        high=min(1.0, mean + half),
        n=min(n),
        seeds=len(values),
        min=low,
        max=high,
    )
