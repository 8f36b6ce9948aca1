"""Attacks: those that `method` trains against, and those that `evaluate` tests with.

What would be no attack, or another one than its numbers say, is refused: an eps that no two images
are apart, a step longer than the ball is wide, steps that together do not reach its edge.
"""

import math
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ValidationInfo, model_validator

from tasks.params.fields import Count, MisfitError, NonNegative, Positive, Section

Norm = Literal["linf", "l2", "spatial"]
# In multiples of eps.
_DIAMETER = 2


def _of_norm(norm: Norm, value: float, given: ValidationInfo) -> float:
    """A value that has a meaning for one norm alone."""
    found = given.data.get("norm", norm)
    if value and found != norm:
        raise ValueError(
            f"{value:g} is not allowed with norm {found}; leave it out, or give norm {norm}"
        )
    return value


def _on_the_scale(eps: float, given: ValidationInfo) -> float:
    if given.data.get("norm") == "linf" and eps > 1:
        asked = f"did you mean {eps:g}/255?" if eps <= 255 else "give at most 1"
        raise ValueError(
            f"{eps:g} is not allowed with norm linf; pixels are on the scale [0, 1]; {asked}"
        )
    return eps


def _within_the_ball(step_size: float) -> float:
    if step_size > _DIAMETER:
        raise ValueError(
            f"{step_size:g} is not allowed; it is a multiple of eps; give at most {_DIAMETER}"
        )
    return step_size


StepSize = Annotated[Positive, AfterValidator(_within_the_ball)]


def require_possible(key: str, norm: Norm, eps: float, side: int) -> None:
    """Check a radius for images of a side in pixels.

    Raises:
        MisfitError: no two such images are so far apart, or no pixel can move so far.
    """
    farthest = {"linf": 1.0, "l2": math.sqrt(3) * side, "spatial": float(side)}[norm]
    if eps > farthest:
        raise MisfitError(
            f"{key}: {eps:g} is not allowed with norm {norm} for images of {side} px; "
            f"give at most {farthest:.4g}"
        )


def require_reach(key: str, step_size: float, steps: int, eps: float, given: str) -> None:
    """Check the size of steps, described by `given`.

    Raises:
        MisfitError: together they do not lead from the centre of the ball to its edge.
    """
    reach = step_size * steps
    if round(reach, 6) >= 1:
        return
    # What was meant if it was given on the scale of eps.
    relative = step_size / eps if eps else 0.0
    asked = f"give at least {1 / steps:.4g}"
    if round(relative * steps, 6) >= 1 and relative <= _DIAMETER:
        asked = f"did you mean {relative:.4g}?"
    raise MisfitError(
        f"{key}: {step_size:g} is not allowed with {given}; it is a multiple of eps, of which "
        f"{reach:.2g} is reached; {asked}"
    )


class Threat(Section):
    norm: Norm
    eps: Annotated[NonNegative, AfterValidator(_on_the_scale)]
    smoothness: Annotated[NonNegative, AfterValidator(partial(_of_norm, "spatial"))] | None = None


class TrainingThreat(Threat):
    at: Annotated[Count, AfterValidator(partial(_of_norm, "l2"))] | None = None


class FgsmAttack(TrainingThreat):
    kind: Literal["fgsm"]
    step_size: StepSize | None = None
    random_start: bool | None = None

    @model_validator(mode="after")
    def _reaches_the_edge(self) -> Self:
        if self.step_size is not None:
            require_reach("step_size", self.step_size, 1, self.eps, "one step")
        return self


class PgdAttack(TrainingThreat):
    kind: Literal["pgd"]
    step_size: StepSize


class FreeAttack(TrainingThreat):
    kind: Literal["free"]
    norm: Literal["linf", "l2"]
    replays: Count


class Robustness(Threat):
    step_size: StepSize
    steps: Count

    @model_validator(mode="after")
    def _reaches_the_edge(self) -> Self:
        require_reach("step_size", self.step_size, self.steps, self.eps, f"{self.steps} steps")
        return self


class AutoAttacked(Section):
    images: Count
    norm: Literal["linf", "l2"]
    eps: Annotated[Positive, AfterValidator(_on_the_scale)]
