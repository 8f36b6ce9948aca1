"""Brightness: every pixel value times a factor, clamped to [0, 1].

Destroys nothing but luminance (and, in bright images with a factor above 1, what is clamped):
shape and texture stay, so it is a control for the variants that destroy one of the two.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atcore.images.table import ImageTable
from atcore.variants.styling import UNTRAINED, Styling


def lookup(factor: float) -> NDArray[np.uint8]:
    """The scaled value of each of the 256 pixel values, factor > 0; 1 is the identity."""
    return np.rint((np.arange(256) * factor).clip(0, 255)).astype(np.uint8)


def apply(
    table: ImageTable,
    level: float,
    pool: ImageTable,
    seed: int,
    styling: Styling = UNTRAINED,
) -> ImageTable:
    return replace(table, images=lookup(level)[table.images])
