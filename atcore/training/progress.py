"""How a training goes, for those who watch it: without torch, which takes seconds to import."""

import csv
import io
import json
from dataclasses import asdict, dataclass


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

    def curve(self) -> str:
        """The learning curve as CSV, one row per epoch."""
        buffer = io.StringIO()
        names = {"number": "epoch"}
        rows = [{names.get(k, k): v for k, v in asdict(epoch).items()} for epoch in self.history]
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    def summary(self, method: str, target: float | None) -> str:
        """How it ended, as JSON; `target` is the accuracy that it was to stop at, if any."""
        summary = {
            "method": method,
            "finished": self.finished,
            "epochs": self.kept.number,
            "target_accuracy": target,
            "validation_accuracy": self.kept.validation_accuracy,
            "validation_robust_accuracy": self.kept.validation_robust_accuracy,
            "precision": self.kept.precision,
        }
        return json.dumps(summary, indent=2) + "\n"
