"""Learning rates over a training run, as functions of step (0 to steps - 1), steps and peak."""

import math
from collections.abc import Callable

# Share of the steps over which the learning rate rises, before it falls to zero.
_WARMUP = 0.2


def cosine(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over the first fifth of the steps, then a cosine to zero."""
    warmup = max(1, round(_WARMUP * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def piecewise(step: int, steps: int, peak: float) -> float:
    """A tenth after one half and again after three quarters of the steps (Rice et al. 2020)."""
    drops = (2 * step >= steps) + (4 * step >= 3 * steps)
    return peak / 10**drops


def constant(step: int, steps: int, peak: float) -> float:  # noqa: ARG001
    """The peak all the time."""
    return peak


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {
    "cosine": cosine,
    "piecewise": piecewise,
    "constant": constant,
}
