"""Gradient attacks on pixels in [0, 1]. One PGD; the norm of the threat model is the seam.

eps and step size are in pixel units of the [0, 1] scale (8/255 for L-infinity, 0.5 for L2).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atcore.errors import UserError


def _norms(delta: Tensor) -> Tensor:
    """L2 norm of each image, N x 1 x 1 x 1, kept away from zero so that it can divide."""
    return delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


@dataclass(frozen=True)
class ThreatModel(ABC):
    """The set of perturbations an attacker may choose from: a ball of radius eps around 0."""

    eps: float

    def __post_init__(self) -> None:
        if not 0 <= self.eps < float("inf"):
            raise UserError(f"eps: {self.eps} is not allowed; give a finite number >= 0")

    @abstractmethod
    def step(self, gradient: Tensor, size: float) -> Tensor:
        """The move of length `size` that increases the loss most."""

    @abstractmethod
    def project(self, delta: Tensor) -> Tensor:
        """The nearest perturbation inside the ball."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise (N x C x H x W) into a random point of the ball."""


@dataclass(frozen=True)
class Linf(ThreatModel):
    """max |delta| <= eps."""

    def step(self, gradient: Tensor, size: float) -> Tensor:
        return size * gradient.sign()

    def project(self, delta: Tensor) -> Tensor:
        return delta.clamp(-self.eps, self.eps)

    def sample(self, noise: Tensor) -> Tensor:
        # erf maps a normal to a uniform distribution on (-1, 1).
        return self.eps * torch.erf(noise / 2**0.5)


@dataclass(frozen=True)
class L2(ThreatModel):
    """||delta||_2 <= eps, over all pixels and channels of an image."""

    def step(self, gradient: Tensor, size: float) -> Tensor:
        return gradient * (size / _norms(gradient))

    def project(self, delta: Tensor) -> Tensor:
        return delta * (self.eps / _norms(delta)).clamp_max(1)

    def sample(self, noise: Tensor) -> Tensor:
        # In many dimensions nearly all of a ball lies at its surface, where every step would only
        # be projected back; half of the radius leaves the first steps room.
        return noise * (0.5 * self.eps / _norms(noise))


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Projected gradient ascent on the cross-entropy (Madry et al. 2018, arXiv 1706.06083, eq. 2).

    With one step of size eps and no random start it is FGSM (Goodfellow et al. 2015); with one of
    1.25 eps from a random start, "fast" FGSM (Wong et al. 2020, arXiv 2001.03994, algorithm 3).

    Attributes:
        threat: the ball that delta stays in.
        step_size: length of one step, in the units of eps.
        steps: number of gradient steps, at least 1.
        random_start: begin at a random point of the ball instead of at 0.
        start_deviation: a random start is Gaussian with this standard deviation per pixel instead
            (0.001 in TRADES), projected to the ball.
    """

    threat: ThreatModel
    step_size: float
    steps: int
    random_start: bool = True
    start_deviation: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps: {self.steps} is not allowed; give a whole number >= 1")
        if not 0 <= self.step_size < float("inf"):
            raise UserError(f"step_size: {self.step_size} is not allowed; give a number >= 0")

    def scaled(self, factor: float) -> "PGD":
        """The same attack in a ball `factor` times as large."""
        threat = replace(self.threat, eps=self.threat.eps * factor)
        return replace(self, threat=threat, step_size=self.step_size * factor)

    def _start(self, x: Tensor, noise: Tensor | None) -> Tensor:
        if not self.random_start:
            return torch.zeros_like(x)
        if noise is None:
            raise ValueError("a random start needs noise")
        if self.start_deviation is None:
            delta = self.threat.sample(noise)
        else:
            delta = self.threat.project(self.start_deviation * noise)
        return (x + delta).clamp(0, 1) - x

    def _ascend(self, x: Tensor, delta: Tensor, gradient: Tensor) -> Tensor:
        delta = self.threat.project(delta + self.threat.step(gradient, self.step_size))
        # Clipping to the pixel range moves every pixel towards x, so the norm cannot grow.
        return (x + delta).clamp(0, 1) - x

    def perturb(
        self, model: nn.Module, x: Tensor, y: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """Adversarial images after the last step: the cheapest form, for the training loop.

        Args:
            model: maps N x C x H x W in [0, 1] to logits; its mode and weights stay as they are.
            x: float32 images in [0, 1].
            y: labels (int64, N), or probabilities of the classes (float32, N x classes).
            noise: standard normal, shaped like x; needed for a random start.

        Returns:
            float32 images in [0, 1] within eps of x, detached.
        """
        delta = self._start(x, noise)
        for _ in range(self.steps):
            delta.requires_grad_()
            loss = F.cross_entropy(model(x + delta).float(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = self._ascend(x, delta.detach(), gradient)
        return x + delta

    def until_fooled(
        self, model: nn.Module, x: Tensor, y: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """Adversarial images of the first step that is misclassified, for evaluation.

        An image leaves the batch as soon as it is misclassified (which may be before the first
        step), so that no later step can undo the success and none is wasted. Images that stand
        every step come back as they are after the last one. Never weaker than `perturb`.
        Arguments and result are those of `perturb`, but y has to be labels.
        """
        delta = self._start(x, noise)
        result = x + delta
        standing = torch.arange(len(x), device=x.device)
        for step in range(self.steps + 1):
            images, labels = x[standing], y[standing]
            result[standing] = images + delta
            delta.requires_grad_()
            logits = model(images + delta).float()
            correct = logits.argmax(1) == labels
            if step == self.steps or not correct.any():
                break
            loss = F.cross_entropy(logits, labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = self._ascend(images, delta.detach(), gradient)[correct]
            standing = standing[correct]
        return result
