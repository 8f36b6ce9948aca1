"""Gaussian blur, shared by the kinds that smooth."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def gaussian(images: Floats, sigma: float) -> Floats:
    """Separable Gaussian blur of N x H x W x C with mirrored borders; `sigma` in pixels, > 0."""
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (1, 2):
        pad = [(0, 0)] * 4
        pad[axis] = (radius, radius)
        padded = np.pad(images, pad, mode="reflect")
        length = images.shape[axis]
        images = np.zeros_like(images)
        for start, weight in enumerate(kernel):
            images += weight * padded.take(range(start, start + length), axis=axis)
    return images
