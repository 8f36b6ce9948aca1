"""How the training of a stylizer goes, for those who watch it: without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """Mean losses of a twentieth of the steps, up to and with `step`, counted from 1.

    Attributes:
        precision: `bf16` or `fp32`, of its passes.
    """

    step: int
    content: float
    style: float
    identity: float
    precision: str


@dataclass(frozen=True)
class Stylizing:
    """The state after a round.

    Attributes:
        history: all rounds so far; the last one's step is `steps` at the end.
        checkpoint: bytes that `train_stylizer(..., checkpoint=...)` resumes from.
    """

    history: tuple[Round, ...]
    checkpoint: bytes
