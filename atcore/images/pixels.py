"""From stored images to what a network sees: pixels in [0, 1], their statistics, augmentation."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

Channels = tuple[float, float, float]


def to_pixels(images: Tensor) -> Tensor:
    """uint8 N x H x W x 3 to float32 N x 3 x H x W in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def channel_statistics(parts: Iterable[Tensor]) -> tuple[Channels, Channels]:
    """Mean and standard deviation per channel, scale [0, 1], of uint8 N x H x W x 3 in parts."""
    counts = torch.zeros((3, 256), dtype=torch.int64)
    for images in parts:
        channels = images.reshape(-1, 3).unbind(1)
        counts += torch.stack([torch.bincount(channel, minlength=256) for channel in channels])
    values = torch.arange(256, dtype=torch.float64) / 255
    weights = counts.double() / counts.sum(1, keepdim=True)
    mean = (weights * values).sum(1)
    variance = (weights * values**2).sum(1) - mean**2
    (r, g, b), (sr, sg, sb) = mean.tolist(), variance.clamp_min(1e-6).sqrt().tolist()
    return (r, g, b), (sr, sg, sb)


def crop_flip(x: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Crop each image of N x C x S x S at random to `size` x `size` pixels, flip half of them.

    Images that are no larger than that are zero-padded by S/8 before.
    """
    n, _, _, side = x.shape
    pad = 0 if side > size else side // 8
    margin = side + 2 * pad - size
    offsets = torch.randint(0, margin + 1, (2, n), generator=generator, device=x.device)
    flip = torch.rand(n, generator=generator, device=x.device) < 0.5
    line = torch.arange(size, device=x.device)
    rows = offsets[0, :, None] + line
    columns = offsets[1, :, None] + torch.where(flip[:, None], line.flip(0), line)
    padded = F.pad(x, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
