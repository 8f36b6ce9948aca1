"""Projected gradient ascent in any threat model."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atcore.attacks.threats import ThreatModel
from atcore.base.errors import UserError


def _log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """The log-odds against the labels, summed over the images.

    It rises with the cross-entropy, whose gradient is that of the log-odds times the probability of
    a mistake. Where a network is very sure that is no number of float32 but 0.
    """
    own = labels[:, None]
    others = logits.scatter(1, own, -torch.inf).logsumexp(1)
    return (others - logits.gather(1, own)[:, 0]).sum()


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Projected gradient ascent on the cross-entropy (Madry et al. 2018, arXiv 1706.06083, eq. 2).

    With one step of size eps and no random start it is FGSM (Goodfellow et al. 2015); with one of
    1.25 eps from a random start, "fast" FGSM (Wong et al. 2020, arXiv 2001.03994, algorithm 3).

    Attributes:
        threat: what is perturbed, and the ball that the perturbation stays in.
        step_size: length of one step, in the units of eps.
        steps: number of gradient steps, at least 1.
        random_start: begin at a random point of the ball instead of at 0.
        start_deviation: a random start is Gaussian with this standard deviation per entry instead
            (0.001 in TRADES), projected to the ball.
    """

    threat: ThreatModel
    step_size: float | Tensor
    steps: int
    random_start: bool = True
    start_deviation: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps: {self.steps} is not allowed; give a whole number >= 1")
        known = not isinstance(self.step_size, Tensor)
        if known and not 0 <= self.step_size < float("inf"):
            raise UserError(f"step_size: {self.step_size} is not allowed; give a number >= 0")

    def scaled(self, factor: float | Tensor) -> "PGD":
        """The same attack in a ball `factor` times as large; a tensor may change its value."""
        threat = replace(self.threat, eps=self.threat.eps * factor)
        return replace(self, threat=threat, step_size=self.step_size * factor)

    def _start(self, x: Tensor, noise: Tensor | None) -> Tensor:
        if not self.random_start:
            return self.threat.zero(x)
        if noise is None:
            raise ValueError("a random start needs noise")
        if self.start_deviation is None:
            delta = self.threat.sample(noise)
        else:
            delta = self.threat.project(self.start_deviation * noise)
        return self.threat.valid(x, delta)

    def step(self, delta: Tensor, gradient: Tensor) -> Tensor:
        """The perturbation one step up the gradient of the objective, projected to the ball."""
        # In place, as here and in `valid` it is memory that takes the time.
        return self.threat.project(self.threat.step(gradient, self.step_size).add_(delta))

    def perturb(
        self, model: nn.Module, x: Tensor, y: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """Adversarial images after the last step: the cheapest form, for the training loop.

        Args:
            model: maps N x C x H x W in [0, 1] to logits; its mode and weights stay as they are.
            x: float32 images in [0, 1].
            y: labels (int64, N), or probabilities of the classes (float32, N x classes).
            noise: standard normal, shaped like a perturbation (`threat.zero(x)`); needed for a
                random start.

        Returns:
            float32 images in [0, 1] within the threat model's reach of x, detached.
        """
        delta = self._start(x, noise)
        for _ in range(self.steps):
            delta.requires_grad_()
            logits = model(self.threat.apply(x, delta)).float()
            loss = F.cross_entropy(logits, y, reduction="sum")
            (gradient,) = torch.autograd.grad(self.threat.objective(loss, delta), delta)
            delta = self.threat.valid(x, self.step(delta.detach(), gradient))
        return self.threat.apply(x, delta)

    def until_fooled(
        self, model: nn.Module, x: Tensor, y: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """Adversarial images of the first step that is misclassified, for evaluation.

        An image leaves the batch as soon as it is misclassified (which may be before the first
        step), so that no later step can undo the success and none is wasted. Images that stand
        every step come back as they are after the last one. Never weaker than `perturb`.
        Arguments and result are those of `perturb`, but y has to be labels, of two classes or more.
        """
        delta = self._start(x, noise)
        result = torch.empty_like(x)
        standing = torch.arange(len(x), device=x.device)
        for step in range(self.steps + 1):
            images, labels = x[standing], y[standing]
            delta.requires_grad_()
            attacked = self.threat.apply(images, delta)
            result[standing] = attacked.detach()
            logits = model(attacked).float()
            correct = logits.argmax(1) == labels
            if step == self.steps or not correct.any():
                break
            if self.threat.weighs_loss:
                loss = F.cross_entropy(logits, labels, reduction="sum")
            else:
                loss = _log_odds(logits, labels)
            (gradient,) = torch.autograd.grad(self.threat.objective(loss, delta), delta)
            delta = self.threat.valid(images, self.step(delta.detach(), gradient))[correct]
            standing = standing[correct]
        return result
