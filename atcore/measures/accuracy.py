"""Shares of right answers.

Every function here and in `conflicts` counts images of one `Predictions` part and gives a
`Proportion`, or None where no image counts: a proportion of nothing has no value, and the report
leaves it out.
"""

import numpy as np

from atcore.evaluation.predictions import Predictions
from atcore.statistics.outcomes import Outcomes
from atcore.statistics.proportions import Proportion, share


def right(part: Predictions) -> Outcomes:
    """Right answers to all images."""
    return Outcomes(part.ids, part.correct)


def accuracy(part: Predictions) -> Proportion | None:
    """Images whose most probable class is the label, among all."""
    return share(right(part).hits)


def top3_accuracy(part: Predictions) -> Proportion | None:
    """Images whose label is among the three most probable classes, among all."""
    return share((part.top3 == part.labels[:, None]).any(axis=1))


def kept(part: Predictions, clean: Predictions) -> Outcomes:
    """Right answers to the images that the same model classifies correctly when clean.

    Images are matched by id; `part` may hold any of those of `clean`.
    """
    known = np.isin(part.ids, clean.ids[clean.correct])
    return Outcomes(part.ids[known], part.correct[known])


def accuracy_on_correct(part: Predictions, clean: Predictions) -> Proportion | None:
    """Accuracy among the images that the same model classifies correctly when clean.

    Separates what a transformation costs from what the model never knew: the y axis of Zhang & Zhu
    2019, arXiv 1905.09797.
    """
    return share(kept(part, clean).hits)
