"""High-pass filter: keeps frequencies above `level` cycles per image.

Coarse shape and colour go. What is left, fine texture and thin outlines, has mean 0: it is shown
around the middle grey, 128, and clamped to the range of pixels.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atcore.images.table import ImageTable
from atcore.variants.fourier import low_frequencies, to_pixels

_GREY = 128


def apply(
    table: ImageTable,
    level: float,
    pool: ImageTable,
    seed: int,
    styles: NDArray[np.uint8] | None = None,
) -> ImageTable:
    images = [to_pixels(image - low_frequencies(image, level) + _GREY) for image in table.images]
    return replace(table, images=np.stack(images))
