"""Do two networks differ? Paired tests on the images that count for both, and Holm's correction.

All networks of a run answer the same test images, so every comparison is paired by image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atcore.measures import Z_95, Outcomes


@dataclass(frozen=True)
class Comparison:
    """First network minus second one, on `n` images that count for both.

    Attributes:
        effect: difference of the two shares of hits, -1 to 1.
        low, high: its 95% interval, within [-1, 1]; it contains `effect`.
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
    return float(np.clip(2 * tail, 0, 1))


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


def paired(first: Sequence[Outcomes], second: Sequence[Outcomes]) -> Comparison | None:
    """Compare two networks over the same levels, or None where no image counts for both.

    Images are matched by id at each level. The answers to one image at several levels are not
    independent, so an image enters the test once, with the sum of its differences.

    Raises:
        ValueError: the networks have different numbers of levels.
    """
    ids, differences = [], []
    for one, other in zip(first, second, strict=True):
        common, left, right = np.intersect1d(
            one.ids, other.ids, assume_unique=True, return_indices=True
        )
        ids.append(common)
        differences.append(one.hits[left].astype(np.int64) - other.hits[right])
    if not sum(map(len, ids)):
        return None
    images, of_image = np.unique(np.concatenate(ids), return_inverse=True)
    compared = np.bincount(of_image)
    wins = np.zeros(len(images), np.int64)
    np.add.at(wins, of_image, np.concatenate(differences))
    effect = float(wins.sum() / compared.sum())
    low, high = _interval(wins, compared, len(first))
    return Comparison(
        effect=effect,
        low=max(-1.0, min(effect, low)),
        high=min(1.0, max(effect, high)),
        p=sign_flip_p(wins),
        n=len(images),
    )


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
