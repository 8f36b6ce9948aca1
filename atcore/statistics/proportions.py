"""Shares of images, each with its interval."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atcore.statistics.estimates import Estimate

# 97.5% quantile of the standard normal distribution, for two-sided 95% intervals.
Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Proportion:
    """`successes` out of `n` images.

    Raises:
        ValueError: unless 0 <= successes <= n and n >= 1.
    """

    successes: int
    n: int

    def __post_init__(self) -> None:
        if not (0 <= self.successes <= self.n and self.n >= 1):
            raise ValueError(f"{self.successes} of {self.n} is no proportion")

    @property
    def value(self) -> float:
        """The share of successes, 0 to 1."""
        return self.successes / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95% score interval, within [0, 1]; it contains `value`.

        Unlike value +- 2 standard errors it stays honest near 0 and 1 and for small n. Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA
        22; recommended by Brown, Cai, DasGupta 2001, "Interval estimation for a binomial
        proportion", Statistical Science 16, section 3.1.1.
        """
        p, n, z2 = self.value, self.n, Z_95**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n**2))
        # Rounding may put an end that is exactly 0, 1 or p on the wrong side of it.
        return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))

    @property
    def estimate(self) -> Estimate:
        """The same as any other measure."""
        return Estimate(self.value, *self.interval, self.n)


def share(hits: NDArray[np.bool_]) -> Proportion | None:
    """The share of hits (bool, N); None without any image."""
    return Proportion(int(hits.sum()), len(hits)) if len(hits) else None
