"""Low-pass filter: keeps frequencies of at most `level` cycles per image.

Coarse shape stays, fine texture goes; the sharp cut-off in the Fourier plane leaves ripples beside
strong edges.
"""

from dataclasses import replace

import numpy as np

from atcore.images.table import ImageTable
from atcore.variants.fourier import low_frequencies, to_pixels
from atcore.variants.styling import UNTRAINED, Styling


def apply(
    table: ImageTable,
    level: float,
    pool: ImageTable,
    seed: int,
    styling: Styling = UNTRAINED,
) -> ImageTable:
    images = [to_pixels(low_frequencies(image, level)) for image in table.images]
    return replace(table, images=np.stack(images))
