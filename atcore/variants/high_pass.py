"""High-pass filter: keeps frequencies above `level` cycles per image.

Coarse shape and colour go. What is left, fine texture and thin outlines, has mean 0: it is shown
around the middle grey, 128, and clamped to the range of pixels.
"""

import numpy as np
from numpy.typing import NDArray

from atcore.variants.fourier import low_frequencies, to_pixels

_GREY = 128


def high_pass(images: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    """Filter uint8 N x H x W x 3; errors as in `fourier.low_frequencies`."""
    return np.stack([to_pixels(image - low_frequencies(image, radius) + _GREY) for image in images])
