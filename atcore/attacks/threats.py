"""Threat models: what a perturbation is, how it changes an image, and how large it may be.

A perturbation is a tensor whose first axis counts the images, so that one attack does for all of
them. Those of this module are added to the pixels; `atcore.attacks.spatial` moves them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atcore.base.errors import UserError


def _inverse_norms(delta: Tensor) -> Tensor:
    """1 / L2 norm of each image, N x 1 x 1 x 1, or what is large if that is zero.

    To be multiplied: torch divides a number and a tensor in two ways, which differ in the last bit.
    """
    return delta.flatten(1).norm(dim=1).clamp_min(1e-12).reciprocal().view(-1, 1, 1, 1)


@dataclass(frozen=True)
class ThreatModel(ABC):
    """The set of perturbations an attacker may choose from: a ball of radius eps around 0.

    Here a perturbation is added to the pixels: float32, shaped like the images, and eps is on the
    [0, 1] scale of the pixels (8/255 for L-infinity, 0.5 for L2). As a tensor of no dimension it
    may change between the runs of a recorded attack, and is not checked: that would have to wait
    for the device.
    """

    eps: float | Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.eps, Tensor) and not 0 <= self.eps < float("inf"):
            raise UserError(f"eps: {self.eps} is not allowed; give a finite number >= 0")

    @abstractmethod
    def step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The move of length `size` that increases the loss most, in memory of its own."""

    @abstractmethod
    def project(self, delta: Tensor) -> Tensor:
        """The nearest perturbation inside the ball."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise, shaped like a perturbation, into a random point of the ball.

        The point of an image depends on the noise of that image alone.
        """

    def zero(self, x: Tensor) -> Tensor:
        """The perturbation of images x (float32, N x C x H x W) that changes nothing."""
        return torch.zeros_like(x)

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """The perturbed images, float32 in [0, 1] if delta is valid; differentiable in delta."""
        return x + delta

    def valid(self, x: Tensor, delta: Tensor) -> Tensor:
        """A perturbation no larger than delta that keeps every pixel in [0, 1]."""
        # Clipping to the pixel range moves every pixel towards x, so the norm cannot grow.
        return (x + delta).clamp_(0, 1).sub_(x)

    @property
    def weighs_loss(self) -> bool:
        """Whether the objective has other terms, so that the loss counts by its size too."""
        return False

    def objective(self, loss: Tensor, delta: Tensor) -> Tensor:  # noqa: ARG002
        """What the attacker maximises, given the loss summed over the images."""
        return loss


@dataclass(frozen=True)
class Linf(ThreatModel):
    """max |delta| <= eps."""

    def step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        return gradient.sign().mul_(size)

    def project(self, delta: Tensor) -> Tensor:
        eps: Any = self.eps  # both bounds are of one type, which checkers cannot see
        return delta.clamp(-eps, eps)

    def sample(self, noise: Tensor) -> Tensor:
        # erf maps a normal to a uniform distribution on (-1, 1).
        return self.eps * torch.erf(noise / 2**0.5)


@dataclass(frozen=True)
class L2(ThreatModel):
    """||delta||_2 <= eps, over all pixels and channels of an image."""

    def step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        # To a size whose squares are numbers, by powers of two, which leave all bits as they are.
        largest = gradient.abs().amax((1, 2, 3), keepdim=True)
        gradient = torch.ldexp(gradient, -torch.frexp(largest).exponent)
        return gradient * (_inverse_norms(gradient) * size)

    def project(self, delta: Tensor) -> Tensor:
        return delta * (_inverse_norms(delta) * self.eps).clamp_max(1)

    def sample(self, noise: Tensor) -> Tensor:
        # In many dimensions nearly all of a ball lies at its surface, where every step would only
        # be projected back; half of the radius leaves the first steps room.
        return noise * (_inverse_norms(noise) * (0.5 * self.eps))
