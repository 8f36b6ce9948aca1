"""Gaussian blur and Sobel gradient of many images at once."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# So many values are blurred at once; the blur of more waits for memory four times as long.
_IN_CACHE = 2**18


def _blurred(images: Floats, kernel: Floats) -> Floats:
    radius = len(kernel) // 2
    for axis in (1, 2):
        pad = [(0, 0)] * 4
        pad[axis] = (radius, radius)
        padded = np.pad(images, pad, mode="reflect").swapaxes(0, axis)
        blurred = np.zeros_like(images).swapaxes(0, axis)
        product = np.empty_like(blurred)
        for start, weight in enumerate(kernel):
            np.multiply(padded[start : start + len(blurred)], weight, out=product)
            blurred += product
        images = blurred.swapaxes(0, axis)
    return images


def gaussian(images: Floats, sigma: float) -> Floats:
    """Separable Gaussian blur of N x H x W x C with mirrored borders; `sigma` in pixels, > 0."""
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    blurred = np.empty_like(images)
    several = max(1, _IN_CACHE // int(np.prod(images.shape[1:])))
    for start in range(0, len(images), several):
        part = slice(start, start + several)
        blurred[part] = _blurred(images[part], kernel)
    return blurred


def sobel(values: Floats) -> Floats:
    """Gradient magnitude, N x H x W, of N x H x W x 3 with the outermost pixels repeated.

    A straight step by h in all channels has magnitude 4h.
    """
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    down = padded[:, 2:] - padded[:, :-2]
    across = padded[:, :, 2:] - padded[:, :, :-2]
    vertical = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    horizontal = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    return np.sqrt((vertical**2 + horizontal**2).mean(-1))
