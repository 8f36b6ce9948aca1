"""The Fourier filter that `low_pass` and `high_pass` share.

A frequency is (i, j) cycles over the height and the width of the image; its radius is
sqrt(i^2 + j^2). The largest one of a side of s pixels is s / 2, so the largest radius, in the
corner of the Fourier plane, is s / sqrt(2): 22.6 for 32 px.
"""

import math

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError

Floats = NDArray[np.float64]


def low_frequencies(image: NDArray[np.uint8], radius: float) -> Floats:
    """The part of an image with frequencies up to a radius, each channel for itself.

    Args:
        image: uint8, H x W x 3, 0 to 255.
        radius: cycles per image, > 0; below 1 only the mean is left.

    Returns:
        float64, H x W x 3, on the scale of the image and not clamped to it.

    Raises:
        UserError: the radius lies beyond the corner of the Fourier plane.
    """
    height, width = image.shape[:2]
    corner = math.hypot(height // 2, width // 2)
    if radius > corner:
        raise UserError(
            f"level {radius:g} is not allowed for images of {height} x {width} px; give a radius "
            f"of at most {math.floor(10 * corner) / 10:g} cycles per image"
        )
    # In whole numbers: as shares of a side and multiplied, some come out beside them.
    down = np.fft.ifftshift(np.arange(height) - height // 2)
    across = np.arange(width // 2 + 1)
    kept = np.hypot(down[:, None], across) <= radius
    spectrum = np.fft.rfft2(image, axes=(0, 1)) * kept[..., None]
    return np.fft.irfft2(spectrum, (height, width), axes=(0, 1))


def to_pixels(values: Floats) -> NDArray[np.uint8]:
    """Clamp to 0..255 and round."""
    # A value half way between two integers must not depend on the rounding errors of the FFT.
    return np.rint(values.round(6).clip(0, 255)).astype(np.uint8)
