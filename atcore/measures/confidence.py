"""How sure networks are, whether rightly so, and whether two of them err together."""

import numpy as np
from numpy.typing import NDArray

from atcore.evaluation.predictions import Predictions
from atcore.statistics.estimates import RESAMPLES, Estimate, estimate, mean, resamples, resampling

BINS = 15


def mean_confidence(part: Predictions) -> Estimate | None:
    """Mean probability of the most probable class, 0 to 1; None without images."""
    return mean(part.probabilities[:, 0])


def calibration_error(part: Predictions) -> Estimate | None:
    """Expected calibration error of the top-1 probability, 0 to 1; None without images.

    Mean distance between accuracy and mean confidence in 15 bins of equal width, (0, 1/15], ...,
    each weighted by its images. Few images make it too large rather than too small. Source: Guo et
    al. 2017, "On calibration of modern neural networks", ICML, equation 3.
    """
    n = len(part.ids)
    if not n:
        return None
    top1 = part.probabilities[:, 0]
    bins = np.clip(np.ceil(top1.astype(np.float64) * BINS).astype(int) - 1, 0, BINS - 1)
    # Of the images of a bin, n |accuracy - confidence| is the sum of their gaps.
    gaps = np.zeros((n, BINS), np.float32)
    gaps[np.arange(n), bins] = part.correct - top1
    value = float(np.abs(gaps.sum(axis=0, dtype=np.float64)).sum()) / n
    return estimate(value, np.abs(resamples(n) @ gaps).sum(axis=1) / n, n)


def _kappa(tables: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cohen's kappa of tables (both right, first alone, second alone, both wrong), ... x 4.

    NaN where a network is always right or always wrong: its kappa is 0 or undefined whatever the
    other one does.
    """
    both, first, second, neither = np.moveaxis(tables / tables.sum(axis=-1, keepdims=True), -1, 0)
    right, other = both + first, both + second
    wrong, other_wrong = second + neither, first + neither
    observed = both + neither
    expected = right * other + wrong * other_wrong
    with np.errstate(invalid="ignore"):
        return np.where(
            right * wrong * other * other_wrong > 0, (observed - expected) / (1 - expected), np.nan
        )


def error_consistency(first: Predictions, second: Predictions) -> Estimate | None:
    """Do two networks err on the same images? Cohen's kappa of right and wrong, -1 to 1.

    0: as often as their accuracies make them by chance; 1: always together. Images are matched by
    id. None without common images, or where a network is always right or always wrong: there is
    nothing to share. Resamples of that kind are left out. Source: Geirhos, Meding, Wichmann 2020,
    "Beyond accuracy: quantifying trial-by-trial behaviour of CNNs and humans by measuring error
    consistency", NeurIPS.
    """
    common, left, right = np.intersect1d(
        first.ids, second.ids, assume_unique=True, return_indices=True
    )
    n = len(common)
    if not n:
        return None
    cells = 2 * ~first.correct[left] + ~second.correct[right]
    table = np.bincount(cells, minlength=4)
    value = float(_kappa(table))
    if np.isnan(value):
        return None
    # Resampling images is drawing the four cells: no need for the images themselves.
    resampled = _kappa(resampling(n).multinomial(n, table / n, size=RESAMPLES))
    return estimate(value, resampled[~np.isnan(resampled)], n)
