"""The spatial threat model: pixels keep their values and move (Xiao et al. 2018, arXiv 1801.02612).

A perturbation is a flow, float32 N x 2 x H x W, in pixels: pixel (i, j) of the attacked image shows
what x shows at (i + flow[:, 0, i, j], j + flow[:, 1, i, j]).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from atcore.attacks.threats import Linf
from atcore.base.errors import UserError

# Keeps the square root differentiable where neighbours move alike: squared pixels.
_SMALL = 1e-12


def _cells(offset: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Cells of the pixel grid along an axis that the flow leads to, and the places within them.

    Args:
        offset: N x H x W, in pixels. Where it leads out of the image, the border is meant.

    Returns:
        Index of the cell's lower pixel (int64), and the distance from it (0 to 1, differentiable).
    """
    size = offset.shape[axis]
    line = torch.arange(size, device=offset.device, dtype=offset.dtype)
    place = (offset + line.view(-1, 1) if axis == 1 else offset + line).clamp(0, size - 1)
    lower = place.detach().floor().clamp(max=size - 2)
    return lower.long(), place - lower


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Bilinear samples of images at every pixel plus its flow (Xiao et al. 2018, eq. 1).

    Written out, because `grid_sample` computes with coordinates scaled to [-1, 1], whose rounding
    blurs the image even where nothing moves. Here whole pixels are exact. Samples outside the image
    are those of its border.

    Args:
        x: float32, N x C x H x W, H and W at least 2; no gradient reaches it.
        flow: float32, N x 2 x H x W (down, right), in pixels.

    Returns:
        float32, N x C x H x W, within the range of each image; differentiable in the flow.
    """
    n, channels, height, width = x.shape
    row, down = _cells(flow[:, 0], 1)
    column, right = _cells(flow[:, 1], 2)
    pixels = x.detach().permute(0, 2, 3, 1).reshape(-1, channels)
    image = torch.arange(n, device=x.device).view(-1, 1, 1) * (height * width)
    upper_left = (image + row * width + column).flatten()
    down, right = down.unsqueeze(-1), right.unsqueeze(-1)

    def samples(offset: int) -> Tensor:
        return pixels.index_select(0, upper_left + offset).view(n, height, width, channels)

    # Of the form (1 - w) a + w b, which is a for w = 0 and b for w = 1.
    upper = (1 - right) * samples(0) + right * samples(1)
    lower = (1 - right) * samples(width) + right * samples(width + 1)
    return ((1 - down) * upper + down * lower).permute(0, 3, 1, 2)


def roughness(flow: Tensor) -> Tensor:
    """How differently neighbours move (Xiao et al. 2018, eq. 4), summed over all images.

    The sum, over all pixels and each of their up to four neighbours, of the distance in pixels
    between the two flows; every pair therefore counts twice. Differentiable everywhere.
    """
    down = flow[:, :, 1:] - flow[:, :, :-1]
    right = flow[:, :, :, 1:] - flow[:, :, :, :-1]
    distances = [(step.square().sum(1) + _SMALL).sqrt().sum() for step in (down, right)]
    return 2 * (distances[0] + distances[1])


@dataclass(frozen=True)
class Spatial(Linf):
    """max |flow| <= eps, in pixels.

    The attacker raises the loss minus `smoothness` times the roughness of the flow. The radius,
    which Xiao et al. do without, makes the threat a ball as the others are, of known size.

    Attributes:
        smoothness: tau of Xiao et al., eq. 2; they take 0.05 with the loss of Carlini & Wagner.
    """

    smoothness: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.smoothness < float("inf"):
            raise UserError(
                f"smoothness: {self.smoothness} is not allowed; give a finite number >= 0"
            )

    def sample(self, noise: Tensor) -> Tensor:
        # Moves the image as a whole. A flow that is random in every pixel is as rough as flows
        # can be, and the few steps of training would not smooth it.
        return super().sample(noise[:, :, :1, :1]).expand_as(noise)

    def zero(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 2, *x.shape[2:])

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        # A weighted mean of pixels leaves their range by no more than rounding.
        return warp(x, delta).clamp(0, 1)

    def valid(self, x: Tensor, delta: Tensor) -> Tensor:  # noqa: ARG002
        return delta

    @property
    def weighs_loss(self) -> bool:
        return self.smoothness > 0

    def objective(self, loss: Tensor, delta: Tensor) -> Tensor:
        return loss - self.smoothness * roughness(delta)
