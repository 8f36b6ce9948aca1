"""What decides where shape and texture say different things."""

import numpy as np

from atcore.evaluation.predictions import Predictions
from atcore.statistics.outcomes import Outcomes
from atcore.statistics.proportions import Proportion, share


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
    return share(shape_decisions(part).hits)


def shape_bias_by_class(part: Predictions, classes: int) -> list[Proportion | None]:
    """Shape bias among the cue conflicts with the shape of class 0, 1, ..., classes - 1."""
    decisions = shape_decisions(part)
    decided = np.isin(part.ids, decisions.ids)
    shapes = part.labels[decided]
    return [share(decisions.hits[shapes == shape]) for shape in range(classes)]


def shape_rate(part: Predictions) -> Proportion | None:
    """Answers that name the shape's class, among all cue conflicts."""
    return share(_conflict_answers(part)[0].hits)


def texture_rate(part: Predictions) -> Proportion | None:
    """Answers that name the texture's class, among all cue conflicts."""
    return share(_conflict_answers(part)[1].hits)
