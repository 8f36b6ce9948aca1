"""Do the outlines of an image survive what was made of it?"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from atcore.images.filters import gaussian, sobel
from atcore.statistics.estimates import Estimate, mean

Pixels = NDArray[np.uint8]

# Sigma of the blur before the gradient, in pixels of a 32 px image, which takes grain away.
_SIGMA = 1.0
_REFERENCE_SIDE = 32


def _edges(images: Pixels) -> NDArray[np.float32]:
    """About their mean, N x HW."""
    sigma = _SIGMA * max(1.0, images.shape[1] / _REFERENCE_SIDE)
    magnitude = sobel(gaussian(images.astype(np.float32), sigma)).reshape(len(images), -1)
    return magnitude - magnitude.mean(1, keepdims=True)


def _squares(edges: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.square(edges).sum(1, dtype=np.float64))


def edge_correlations(originals: Pixels, changed: Iterable[Pixels]) -> list[NDArray[np.float64]]:
    """Correlation of the edges of images with those of what was made of them, -1 to 1.

    Edges are the magnitude of the Sobel gradient (root mean square over the channels) after a
    Gaussian blur of sigma 1 px at 32 px; the correlation is that over the pixels of an image.

    Args:
        originals: uint8, N x H x W x 3.
        changed: what was made of them, in several ways: each like `originals`, row by row.

    Returns:
        By way, those of the images that have edges in both.
    """
    found = []
    first = _edges(originals)
    squares = _squares(first)
    for images in changed:
        second = _edges(images)
        product = (first * second).sum(1, dtype=np.float64)
        norms = squares * _squares(second)
        found.append(product[norms > 0] / np.sqrt(norms[norms > 0]))
    return found


def edge_agreement(correlations: Sequence[NDArray[np.float64]]) -> Estimate | None:
    """Mean over the images of all parts, with a bootstrap interval; None without any."""
    return mean(np.concatenate(correlations))
