"""Do the outlines of an image survive what was made of it?"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from atcore.images.filters import gaussian, sobel
from atcore.statistics.estimates import Estimate, mean

# Sigma of the blur before the gradient, in pixels of a 32 px image, which takes grain away.
_SIGMA = 1.0
_REFERENCE_SIDE = 32


def _edges(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    sigma = _SIGMA * max(1.0, images.shape[1] / _REFERENCE_SIDE)
    magnitude = sobel(gaussian(images.astype(np.float32), sigma))
    return magnitude.reshape(len(images), -1)


def _correlations(originals: NDArray[np.uint8], changed: NDArray[np.uint8]) -> NDArray[np.float64]:
    first, second = (
        edges - edges.mean(1, keepdims=True) for edges in map(_edges, (originals, changed))
    )
    product = (first * second).sum(1, dtype=np.float64)
    norms = np.square(first).sum(1, dtype=np.float64) * np.square(second).sum(1, dtype=np.float64)
    return product[norms > 0] / np.sqrt(norms[norms > 0])


def edge_agreement(
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
) -> Estimate | None:
    """Correlation of the edges of images with those of what was made of them, -1 to 1.

    Edges are the magnitude of the Sobel gradient (root mean square over the channels) after a
    Gaussian blur of sigma 1 px at 32 px; the correlation is that over the pixels of an image, its
    mean that over the images.

    Args:
        pairs: originals and what was made of them, some at a time: uint8, N x H x W x 3, row by
            row.

    Returns:
        The mean with a bootstrap interval over the images that have edges in both; None without
        any.
    """
    return mean(np.concatenate([_correlations(*pair) for pair in pairs]))
