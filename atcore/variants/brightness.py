"""Brightness: every pixel value times a factor, clamped to [0, 1].

Destroys nothing but luminance (and, in bright images with a factor above 1, what is clamped):
shape and texture stay, so it is a control for the variants that destroy one of the two.
"""

import numpy as np
from numpy.typing import NDArray


def lookup(factor: float) -> NDArray[np.uint8]:
    """The scaled value of each of the 256 pixel values, factor > 0; 1 is the identity."""
    return np.rint((np.arange(256) * factor).clip(0, 255)).astype(np.uint8)


def scaled(images: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Scale uint8 images of any shape."""
    return lookup(factor)[images]
