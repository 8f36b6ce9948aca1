"""Cue conflicts: the shape of one class with the texture of another (Geirhos et al. 2019).

The texture is that of a random test image of another class, put on by style transfer; the level is
its strength. On the generated dataset `shapes` the conflict is exact unless a trained stylizer is
given: the same image is drawn again with the texture of another class.
"""

from dataclasses import replace

import numpy as np

from atcore.base.errors import UserError
from atcore.base.rng import numpy_rng
from atcore.images import shapes
from atcore.images.stored import StoredTable
from atcore.images.table import ImageTable
from atcore.variants import filtered
from atcore.variants.styling import Styling, Transfer


def apply(
    table: ImageTable, level: float, pool: ImageTable | StoredTable, seed: int, styling: Styling
) -> ImageTable:
    if table.origin.get("generator") == "shapes" and styling.transfer is None:
        return _redrawn(table, seed)
    return _transferred(table, level, pool, seed, styling.transfer or filtered.transfer)


def _redrawn(table: ImageTable, seed: int) -> ImageTable:
    images, textures = [], []
    for image_id, label in zip(table.ids.tolist(), table.labels.tolist(), strict=True):
        offset = numpy_rng(seed, "cue_conflict/texture", image_id).integers(1, len(table.classes))
        texture = int(label + offset) % len(table.classes)
        images.append(shapes.render(table.origin["seed"], image_id, label, texture).pixels)
        textures.append(texture)
    return replace(
        table, images=np.stack(images), texture_labels=np.array(textures, dtype=np.int32)
    )


def _transferred(
    table: ImageTable, level: float, pool: ImageTable | StoredTable, seed: int, transfer: Transfer
) -> ImageTable:
    chosen = []
    for image_id, label in zip(table.ids.tolist(), table.labels.tolist(), strict=True):
        others = np.flatnonzero(pool.labels != label)
        if not len(others):
            raise UserError("the test split has a single class; it needs at least 2")
        chosen.append(numpy_rng(seed, "cue_conflict/source", image_id).choice(others))
    sources = np.array(chosen, np.int64)
    return replace(
        table,
        images=transfer(table.images, pool.images[sources], level),
        texture_labels=pool.labels[sources],
    )
