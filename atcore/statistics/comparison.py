"""Do two networks differ? Paired tests on the images that count for both, and Holm's correction.

All networks of a run answer the same test images, so every comparison is paired by image.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from atcore.statistics.estimates import mean
from atcore.statistics.outcomes import Outcomes
from atcore.statistics.proportions import Z_95

# Sizes of differences in the test of real numbers: few enough to enumerate their sums.
_STEPS = 100


# Ids of images and a number of each.
_Values = tuple[NDArray[np.int64], NDArray[Any]]


class Sample(Protocol):
    """One real number per image, NaN where there is none."""

    @property
    def ids(self) -> NDArray[np.int64]: ...

    @property
    def values(self) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Comparison:
    """First network minus second one, on `n` images that count for both.

    Attributes:
        effect: difference of the two shares of hits, -1 to 1, or of two means.
        low, high: its 95% interval, of shares within [-1, 1]; it contains `effect`.
        p: of the two-sided test that the networks do not differ, 0 to 1.
    """

    effect: float
    low: float
    high: float
    p: float
    n: int


def sign_flip_p(differences: NDArray[np.int64]) -> float:
    """Exact two-sided p-value of paired differences, N whole numbers: may their sum be chance?

    If two networks do not differ, exchanging their answers to an image is as likely as not, which
    turns the sign of its difference. The p-value is the share of all 2^N exchanges with a sum at
    least as far from 0; where differences are -1, 0 and 1 this is McNemar's exact test. Source:
    Fisher 1935, "The Design of Experiments", section 21.
    """
    observed = abs(int(differences.sum()))
    if observed == 0:
        return 1.0
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    largest = int(sizes @ counts)
    # A random sign times m has the characteristic function cos(m t); that of the sum is their
    # product, and sampled at more points than the sum has values it gives every probability.
    points = 1 << (2 * largest).bit_length()
    t = 2 * np.pi / points * np.arange(points // 2 + 1)
    characteristic = np.ones_like(t)
    for size, count in zip(sizes, counts, strict=True):
        characteristic *= np.cos(size * t) ** count
    tail = np.fft.irfft(characteristic, points)[observed : largest + 1].sum()
    # No exchange is rarer than the one observed and its mirror image; the sum's rounding is not.
    return float(np.clip(2 * tail, 0.5 ** (counts.sum() - 1), 1))


def _interval(
    wins: NDArray[np.int64], compared: NDArray[np.int64], most: int
) -> tuple[float, float]:
    """95% interval of sum(wins) / sum(compared), both per image.

    Agresti & Min 2005, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24: adds half an image of each of the four pairs of answers, so that
    networks that never differ do not get an interval of no width.
    """
    weights = np.concatenate([np.ones(len(wins)), [0.5, 0.5, 1.0]])
    wins = np.concatenate([wins, [most, -most, 0]])
    compared = np.concatenate([compared, [most] * 3])
    total = float(weights @ compared)
    centre = float(weights @ wins) / total
    half = Z_95 * math.sqrt(float(weights @ (wins - centre * compared) ** 2)) / total
    return centre - half, centre + half


def _differences(
    first: Iterable[_Values], second: Iterable[_Values]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Of every image that both networks have a value of: the sum of differences, and of how many.

    Raises:
        ValueError: the networks have different numbers of samples.
    """
    ids, differences = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for (one, values), (other, others) in zip(first, second, strict=True):
        common, left, right = np.intersect1d(one, other, assume_unique=True, return_indices=True)
        ids.append(common)
        differences.append(values[left] - others[right])
    _, of_image = np.unique(np.concatenate(ids), return_inverse=True)
    joined = np.concatenate(differences)
    sums = np.zeros(of_image.max(initial=-1) + 1, joined.dtype)
    np.add.at(sums, of_image, joined)
    return sums, np.bincount(of_image)


def paired(first: Sequence[Outcomes], second: Sequence[Outcomes]) -> Comparison | None:
    """Compare two networks over the same levels, or None where no image counts for both.

    Images are matched by id at each level. The answers to one image at several levels are not
    independent, so an image enters the test once, with the sum of its differences.

    Raises:
        ValueError: the networks have different numbers of levels.
    """
    wins, compared = _differences(
        [(outcomes.ids, outcomes.hits.astype(np.int64)) for outcomes in first],
        [(outcomes.ids, outcomes.hits.astype(np.int64)) for outcomes in second],
    )
    if not len(wins):
        return None
    effect = float(wins.sum() / compared.sum())
    low, high = _interval(wins, compared, len(first))
    return Comparison(
        effect=effect,
        low=max(-1.0, min(effect, low)),
        high=min(1.0, max(effect, high)),
        p=sign_flip_p(wins),
        n=len(wins),
    )


def _known(sample: Sample) -> _Values:
    known = ~np.isnan(sample.values)
    return sample.ids[known], sample.values[known].astype(np.float64)


def paired_means(first: Sequence[Sample], second: Sequence[Sample]) -> Comparison | None:
    """Compare the means of two networks over several pairs, or None without a common image.

    As `paired`, for real numbers. The differences enter the test as whole hundredths of the
    largest one: under the hypothesis that the networks do not differ their signs are a matter of
    chance whatever their sizes, so the test of the rounded ones is exact too. The interval is a
    bootstrap one over images.

    Raises:
        ValueError: the networks have different numbers of samples.
    """
    sums, compared = _differences(map(_known, first), map(_known, second))
    differences = sums / compared
    estimate = mean(differences)
    if estimate is None:
        return None
    largest = np.abs(differences).max() or 1.0
    p = sign_flip_p(np.rint(_STEPS * differences / largest).astype(np.int64))
    return Comparison(estimate.value, estimate.low, estimate.high, p, estimate.n)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the order given.

    Calling those below 0.05 real gives at most a 5% chance of even one false call. Source: Holm
    1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6.
    """
    p = np.array(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, stepped)
    return corrected.tolist()
