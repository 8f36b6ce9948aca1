"""Saturation: pushes pixels towards 0 and 1, which removes texture and keeps outlines.

Zhang & Zhu 2019, section 3.2: v -> sign(2v - 1) |2v - 1|^(2/p) / 2 + 1/2 for v in [0, 1].
"""

import numpy as np
from numpy.typing import NDArray


def lookup(p: float) -> NDArray[np.uint8]:
    """The saturated value of each of the 256 pixel values, p > 0; p = 2 is the identity."""
    signed = 2 * (np.arange(256) / 255) - 1
    value = np.sign(signed) * np.abs(signed) ** (2 / p) / 2 + 0.5
    return np.rint(value * 255).astype(np.uint8)


def saturated(images: NDArray[np.uint8], p: float) -> NDArray[np.uint8]:
    """Saturate uint8 images of any shape."""
    return lookup(p)[images]
