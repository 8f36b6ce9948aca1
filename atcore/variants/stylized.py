"""Stylized images: the texture of each image replaced by a procedural one (see `filtered`)."""

from dataclasses import replace

import numpy as np

from atcore.images.table import ImageTable
from atcore.rng import numpy_rng
from atcore.variants.filtered import transfer
from atcore.variants.styles import procedural


def apply(table: ImageTable, level: float, pool: ImageTable, seed: int) -> ImageTable:
    side = table.images.shape[1]
    styles = [procedural(numpy_rng(seed, "stylized/style", int(i)), side) for i in table.ids]
    return replace(table, images=transfer(table.images, np.stack(styles), level))
