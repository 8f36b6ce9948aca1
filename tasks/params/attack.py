"""Attacks: those that `method` trains against, and those that `evaluate` tests with."""

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationInfo

from tasks.params.fields import Count, NonNegative, Positive, Section

Norm = Literal["linf", "l2", "spatial"]


def _of_norm(norm: Norm, value: float, given: ValidationInfo) -> float:
    """A value that has a meaning for one norm alone."""
    found = given.data.get("norm", norm)
    if value and found != norm:
        raise ValueError(
            f"{value:g} is not allowed with norm {found}; leave it out, or give norm {norm}"
        )
    return value


class Threat(Section):
    norm: Norm
    eps: NonNegative
    smoothness: Annotated[NonNegative, AfterValidator(partial(_of_norm, "spatial"))] | None = None


class TrainingThreat(Threat):
    at: Annotated[Count, AfterValidator(partial(_of_norm, "l2"))] | None = None


class FgsmAttack(TrainingThreat):
    kind: Literal["fgsm"]
    step_size: Positive | None = None
    random_start: bool | None = None


class PgdAttack(TrainingThreat):
    kind: Literal["pgd"]
    step_size: Positive


class FreeAttack(TrainingThreat):
    kind: Literal["free"]
    norm: Literal["linf", "l2"]
    replays: Count


class Robustness(Threat):
    step_size: Positive
    steps: Count


class AutoAttacked(Section):
    images: Count
    norm: Literal["linf", "l2"]
    eps: Positive
