"""High-pass filter: keeps frequencies above `level` cycles per image.

Coarse shape and colour go. What is left, fine texture and thin outlines, has mean 0: it is shown
around the middle grey, 128, and clamped to the range of pixels.
"""

from dataclasses import replace

import numpy as np

from atcore.images.table import ImageTable
from atcore.variants.fourier import low_frequencies, to_pixels
from atcore.variants.styling import UNTRAINED, Styling

_GREY = 128


def apply(
    table: ImageTable,
    level: float,
    pool: ImageTable,
    seed: int,
    styling: Styling = UNTRAINED,
) -> ImageTable:
    images = [to_pixels(image - low_frequencies(image, level) + _GREY) for image in table.images]
    return replace(table, images=np.stack(images))
