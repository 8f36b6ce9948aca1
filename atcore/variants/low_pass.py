"""Low-pass filter: keeps frequencies of at most `level` cycles per image.

Coarse shape stays, fine texture goes; the sharp cut-off in the Fourier plane leaves ripples beside
strong edges.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atcore.images.table import ImageTable
from atcore.variants.fourier import low_frequencies, to_pixels


def apply(
    table: ImageTable,
    level: float,
    pool: ImageTable,
    seed: int,
    styles: NDArray[np.uint8] | None = None,
) -> ImageTable:
    images = [to_pixels(low_frequencies(image, level)) for image in table.images]
    return replace(table, images=np.stack(images))
