"""What is asked of salience maps. All maps are float32 N x H x W, non-negative; answers are N.

A map of zeros has no shares, no ranks and no sparsity: the answer is NaN.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Wang et al. 2004, section III C, for values in [0, 1].
_C1, _C2 = 0.01**2, 0.03**2
_SIGMA = 1.5  # the window is 11 pixels wide
_TOP = 0.99


def gini(maps: Tensor) -> Tensor:
    """Gini index, a measure of sparsity: 0 where all pixels are equal, towards 1 for a single one.

    Source: Hurley & Rickard 2009, "Comparing measures of sparsity", IEEE Trans. Inf. Theory 55,
    table I.
    """
    values = maps.flatten(1).double().sort(dim=1).values
    count = values.shape[1]
    weights = (torch.arange(count, 0, -1, device=maps.device) - 0.5) / count
    return 1 - 2 * (values @ weights.double()) / values.sum(dim=1)


def ranks(maps: Tensor) -> Tensor:
    """Ranks of the pixels, N x HW, about 0; equal values share the mean of their ranks."""
    values, order = maps.flatten(1).sort(dim=1)
    place = torch.arange(values.shape[1], device=maps.device).expand_as(values)
    rises = values[:, 1:] > values[:, :-1]
    # First and last place among equal values.
    first = F.pad(torch.where(rises, place[:, 1:], 0), (1, 0)).cummax(dim=1).values
    last = F.pad(
        torch.where(rises, place[:, :-1], place[:, -1:]), (0, 1), value=values.shape[1] - 1
    )
    last = last.flip(1).cummin(dim=1).values.flip(1)
    mean = (first + last - (values.shape[1] - 1)).double() / 2
    return torch.zeros_like(mean).scatter_(1, order, mean)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation, -1 to 1, of maps given by their `ranks`; NaN for constant maps.

    Source: Spearman 1904, with the mean ranks of ties; it is Pearson's correlation of the ranks.
    """
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))


def unit(maps: Tensor) -> Tensor:
    """Each map scaled so that its 99th percentile is 1, and clipped there; zeros stay zeros.

    As the report draws them: a few bright pixels must not decide how alike two maps are.
    """
    top = maps.flatten(1).quantile(_TOP, dim=1).clamp_min(torch.finfo(maps.dtype).tiny)
    return (maps / top[:, None, None]).clamp_max(1)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur over the last two axes, cut off at 3.5 sigma, borders mirrored.

    By a matrix for each axis: many small images cost less so than as convolutions.
    """
    radius = int(3.5 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()

    def matrix(side: int) -> Tensor:
        lines = torch.eye(side, device=images.device, dtype=images.dtype)[:, None]
        return F.conv1d(F.pad(lines, (radius, radius), mode="reflect"), kernel.view(1, 1, -1))[:, 0]

    return matrix(images.shape[-2]).mT @ images @ matrix(images.shape[-1])


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of the maps as `unit` scales them, -1 to 1.

    The mean over all pixels of Wang et al. 2004, "Image quality assessment: from error visibility
    to structural similarity", IEEE Trans. Image Processing 13, equation 13, with their Gaussian
    window of 11 x 11 pixels; borders are mirrored, so that small images count as a whole.
    """
    x, y = unit(first), unit(second)
    mean_x, mean_y, xx, yy, xy = _blur(torch.stack([x, y, x * x, y * y, x * y]), _SIGMA)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    spread = xx - mean_x**2 + yy - mean_y**2
    structure = (2 * (xy - mean_x * mean_y) + _C2) / (spread + _C2)
    return (luminance * structure).mean(dim=(1, 2))


def share(maps: Tensor, part: Tensor) -> Tensor:
    """Share of a map's sum that lies in `part` (bool N x H x W), 0 to 1."""
    return (maps.double() * part).sum(dim=(1, 2)) / maps.double().sum(dim=(1, 2))


def outline(inside: Tensor) -> Tensor:
    """The outline of objects (bool N x H x W): one pixel on either side of it, bool N x H x W."""
    object_, ground = inside.float(), (~inside).float()
    return F.max_pool2d(object_, 3, 1, 1) + F.max_pool2d(ground, 3, 1, 1) > 1


def edges(x: Tensor) -> Tensor:
    """Strength of the edges of pixels N x 3 x H x W: float32 N x H x W, non-negative.

    Magnitude of the gradient (central differences), root mean square over the channels, after a
    Gaussian blur of 1 px.
    """
    smooth = F.pad(_blur(x, 1.0), (1,) * 4, mode="replicate")
    down = smooth[:, :, 2:, 1:-1] - smooth[:, :, :-2, 1:-1]
    across = smooth[:, :, 1:-1, 2:] - smooth[:, :, 1:-1, :-2]
    return (down**2 + across**2).mean(dim=1).sqrt()
