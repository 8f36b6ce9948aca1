"""Low-pass filter: keeps frequencies of at most `level` cycles per image.

Coarse shape stays, fine texture goes; the sharp cut-off in the Fourier plane leaves ripples beside
strong edges.
"""

import numpy as np
from numpy.typing import NDArray

from atcore.variants.fourier import low_frequencies, to_pixels


def low_pass(images: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    """Filter uint8 N x H x W x 3; errors as in `fourier.low_frequencies`."""
    return np.stack([to_pixels(low_frequencies(image, radius)) for image in images])
