"""What is measured on prediction tables: proportions of images, each with its interval.

Every function counts images of one `Predictions` part and gives a `Proportion`, or None where no
image counts: a proportion of nothing has no value, and the report leaves it out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from atcore.evaluation.predictions import Predictions

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


@dataclass(frozen=True)
class Outcomes:
    """Which of the images that count were hits.

    Attributes:
        ids: int64, N, of the images that count.
        hits: bool, N.
    """

    ids: NDArray[np.int64]
    hits: NDArray[np.bool_]


@dataclass(frozen=True)
class Slopes:
    """How the answers to the images that count change with the level.

    Attributes:
        ids: int64, N, of the images that count, ascending.
        values: float32, N, -1 to 1: hits per step from one level to the next.
    """

    ids: NDArray[np.int64]
    values: NDArray[np.float32]


def _share(hits: NDArray[np.bool_]) -> Proportion | None:
    return Proportion(int(hits.sum()), len(hits)) if len(hits) else None


def accuracy(part: Predictions) -> Proportion | None:
    """Images whose most probable class is the label, among all."""
    return _share(part.correct)


def top3_accuracy(part: Predictions) -> Proportion | None:
    """Images whose label is among the three most probable classes, among all."""
    return _share((part.top3 == part.labels[:, None]).any(axis=1))


def kept(part: Predictions, clean: Predictions) -> Outcomes:
    """Right answers to the images that the same model classifies correctly when clean.

    Images are matched by id; `part` may hold any of those of `clean`.
    """
    known = np.isin(part.ids, clean.ids[clean.correct])
    return Outcomes(part.ids[known], part.correct[known])


def slopes(levels: Sequence[Outcomes]) -> Slopes:
    """Least-squares slope of each image's hits (0 or 1) over the ranks of two or more levels.

    Their mean is the slope of the share of hits. Images count that count at every level.

    Args:
        levels: in rising order.
    """
    ids = reduce(np.intersect1d, [outcomes.ids for outcomes in levels])
    orders = [np.argsort(outcomes.ids) for outcomes in levels]
    hits = [
        outcomes.hits[order[np.searchsorted(outcomes.ids, ids, sorter=order)]]
        for outcomes, order in zip(levels, orders, strict=True)
    ]
    ranks = np.arange(len(levels)) - (len(levels) - 1) / 2
    return Slopes(ids, (ranks @ np.stack(hits) / (ranks @ ranks)).astype(np.float32))


def accuracy_on_correct(part: Predictions, clean: Predictions) -> Proportion | None:
    """Accuracy among the images that the same model classifies correctly when clean.

    Separates what a transformation costs from what the model never knew: the y axis of Zhang & Zhu
    2019, arXiv 1905.09797.
    """
    return _share(kept(part, clean).hits)


def _conflict_answers(part: Predictions) -> tuple[Outcomes, Outcomes]:
    """By shape, by texture: for the images whose label (shape) and texture class differ."""
    if part.texture_labels is None:
        nothing = Outcomes(part.ids[:0], part.correct[:0])
        return nothing, nothing
    conflict = part.texture_labels != part.labels
    ids = part.ids[conflict]
    by_texture = (part.predicted == part.texture_labels)[conflict]
    return Outcomes(ids, part.correct[conflict]), Outcomes(ids, by_texture)


def shape_decisions(part: Predictions) -> Outcomes:
    """Shape decisions among shape and texture decisions on cue conflicts."""
    by_shape, by_texture = _conflict_answers(part)
    decided = by_shape.hits | by_texture.hits
    return Outcomes(by_shape.ids[decided], by_shape.hits[decided])


def shape_bias(part: Predictions) -> Proportion | None:
    """Share of shape decisions among shape and texture decisions on cue conflicts.

    Answers that name neither class do not count. Source: Geirhos et al. 2019, "ImageNet-trained
    CNNs are biased towards texture", ICLR, figure 4.
    """
    return _share(shape_decisions(part).hits)


def shape_bias_by_class(part: Predictions, classes: int) -> list[Proportion | None]:
    """Shape bias among the cue conflicts with the shape of class 0, 1, ..., classes - 1."""
    decisions = shape_decisions(part)
    decided = np.isin(part.ids, decisions.ids)
    shapes = part.labels[decided]
    return [_share(decisions.hits[shapes == shape]) for shape in range(classes)]


def shape_rate(part: Predictions) -> Proportion | None:
    """Answers that name the shape's class, among all cue conflicts."""
    return _share(_conflict_answers(part)[0].hits)


def texture_rate(part: Predictions) -> Proportion | None:
    """Answers that name the texture's class, among all cue conflicts."""
    return _share(_conflict_answers(part)[1].hits)
