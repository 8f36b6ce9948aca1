"""Training-free style transfer: an edge-preserving base with the statistics of a style image.

The stand-in for AdaIN (Huang & Belongie 2017) where no trained network is at hand, called by its
own name because it is not theirs. The image is smoothed while its edges are kept, so its texture
is gone for good; then each channel gets the style's mean and standard deviation, and the style's
fine band is added. Lengths are given for 32 px and grow with the image.
"""

import numpy as np
from numpy.typing import NDArray

from atcore.images.filters import Floats, gaussian

_REFERENCE_SIDE = 32
_PRE_SIGMA = 1.0
_BILATERAL_RADIUS = 2
_BILATERAL_RANGE = 0.15
_FINE_SIGMA = 1.6
_MEAN_RANGE = (0.2, 0.8)
_MIN_STD = 0.2


def _scale(images: Floats) -> int:
    return max(1, round(images.shape[1] / _REFERENCE_SIDE))


def _bilateral(images: Floats, radius: int, spacing: int) -> Floats:
    """Average over neighbours of similar colour; every `spacing`-th pixel is a neighbour."""
    reach = radius * spacing
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    total, weights = np.zeros_like(images), np.zeros_like(images[..., :1])
    height, width = images.shape[1:3]
    for dy in range(0, 2 * reach + 1, spacing):
        for dx in range(0, 2 * reach + 1, spacing):
            neighbour = padded[:, dy : dy + height, dx : dx + width]
            distance = ((neighbour - images) ** 2).sum(axis=-1, keepdims=True)
            weight = np.exp(-distance / (2 * _BILATERAL_RANGE**2))
            total += weight * neighbour
            weights += weight
    return total / weights


def transfer(
    contents: NDArray[np.uint8], styles: NDArray[np.uint8], strength: float
) -> NDArray[np.uint8]:
    """Give each image of `contents` the look of the image of `styles` in the same place.

    Args:
        contents, styles: uint8, N x H x W x 3, 0 to 255.
        strength: factor of the style's fine band, >= 0.
    """
    content = np.divide(contents, 255, dtype=np.float32)
    style = np.divide(styles, 255, dtype=np.float32)
    scale = _scale(content)
    base = _bilateral(gaussian(content, _PRE_SIGMA * scale), _BILATERAL_RADIUS, scale)
    pixels = (1, 2)
    centred = base - base.mean(pixels, keepdims=True)
    normalised = centred / np.maximum(base.std(pixels, keepdims=True), 1e-3)
    mean = style.mean(pixels, keepdims=True).clip(*_MEAN_RANGE)
    std = np.maximum(style.std(pixels, keepdims=True), _MIN_STD)
    fine = style - gaussian(style, _FINE_SIGMA * scale)
    result = normalised * std + mean + strength * fine
    return np.rint(result.clip(0, 1) * 255).astype(np.uint8)
