"""Stylized images: the texture of each image replaced by another one (see `filtered`)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atcore.images.table import ImageTable
from atcore.rng import numpy_rng
from atcore.variants.filtered import transfer
from atcore.variants.styles import crop, procedural


def apply(
    table: ImageTable,
    level: float,
    pool: ImageTable,
    seed: int,
    styles: NDArray[np.uint8] | None = None,
) -> ImageTable:
    side = table.images.shape[1]

    def style(image_id: int) -> NDArray[np.uint8]:
        rng = numpy_rng(seed, "stylized/style", image_id)
        return procedural(rng, side) if styles is None else crop(rng, styles, side)

    chosen = np.stack([style(image_id) for image_id in table.ids.tolist()])
    return replace(table, images=transfer(table.images, chosen, level))
