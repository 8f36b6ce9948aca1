"""Patch shuffling: cuts each image into k x k patches and permutes them, which destroys shape.

Zhang & Zhu 2019, section 3.2. Where k does not divide the side, the patches cover the largest
centred square whose side it divides, and the rim of less than k pixels stays in place: nothing is
cropped, resized or left out.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.rng import numpy_rng
from atcore.images.table import ImageTable


def permutation(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """A random permutation of `count` >= 2 patches other than the identity."""
    while True:
        order = rng.permutation(count)
        if (order != np.arange(count)).any():
            return order


def shuffle(image: NDArray[np.uint8], k: int, order: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Put patch `order[i]` of an H x W x 3 image, numbered row by row, into place i."""
    height, width = image.shape[0] // k, image.shape[1] // k
    top, left = (image.shape[0] - height * k) // 2, (image.shape[1] - width * k) // 2
    centre = (slice(top, top + height * k), slice(left, left + width * k))
    patches = image[centre].reshape(k, height, k, width, 3).swapaxes(1, 2).reshape(k * k, -1)
    shuffled = patches[order].reshape(k, k, height, width, 3).swapaxes(1, 2)
    result = image.copy()
    result[centre] = shuffled.reshape(height * k, width * k, 3)
    return result


def apply(table: ImageTable, level: float, seed: int) -> ImageTable:
    k = int(level)
    side = min(table.images.shape[1:3])
    if k > side:
        raise UserError(f"level k = {k} is not allowed for images of {side} px; give k <= {side}")
    images = [
        shuffle(image, k, permutation(numpy_rng(seed, f"patch_shuffled/{k}", int(i)), k * k))
        for i, image in zip(table.ids, table.images, strict=True)
    ]
    return replace(table, images=np.stack(images))
