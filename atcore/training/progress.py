"""How a training goes, for those who watch it: without torch, which takes seconds to import."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Attributes:
        number: 1 for the first epoch.
        loss, accuracy: means over the training images; the accuracy is that on attacked images
            where there is an attack.
        validation_accuracy: on clean validation images.
        validation_robust_accuracy: under the validation attack; None without one.
        precision: `bf16` or `fp32`, of its passes.
    """

    number: int
    loss: float
    accuracy: float
    validation_accuracy: float
    validation_robust_accuracy: float | None
    precision: str


@dataclass(frozen=True)
class Progress:
    """The state after an epoch, enough to go on from or to end with.

    Attributes:
        history: all epochs so far.
        checkpoint: bytes that `train(..., checkpoint=...)` resumes from.
        finished: `epochs`, `accuracy` (stopped at the wanted accuracy) or `collapse` when this is
            the end, None while training goes on. After a collapse the checkpoint holds the last
            good epoch's weights.
        kept: the epoch whose weights `trained_weights(checkpoint, ...)` gives.
    """

    history: tuple[Epoch, ...]
    checkpoint: bytes
    finished: str | None
    kept: Epoch
