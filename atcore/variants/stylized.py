"""Stylized images: the texture of each image replaced by another one (see `transfer`)."""

from dataclasses import replace

import numpy as np

from atcore.base.rng import numpy_rng
from atcore.images.table import ImageTable
from atcore.stylizing.styles import draw
from atcore.variants import filtered
from atcore.variants.styling import Styling


def apply(table: ImageTable, level: float, seed: int, styling: Styling) -> ImageTable:
    side = styling.side or table.images.shape[1]
    transfer = styling.transfer or filtered.transfer
    styles = [
        draw(numpy_rng(seed, "stylized/style", image_id), side, styling.pictures)
        for image_id in table.ids.tolist()
    ]
    return replace(table, images=transfer(table.images, np.stack(styles), level))
