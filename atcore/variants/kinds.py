"""The kinds of variants by name, and how one is made of the rows of an image table."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atcore.images.stored import StoredTable
from atcore.images.table import ImageTable
from atcore.variants import cue_conflict, patch_shuffled, stylized
from atcore.variants.brightness import scaled
from atcore.variants.edges import draw
from atcore.variants.high_pass import high_pass
from atcore.variants.low_pass import low_pass
from atcore.variants.saturated import saturated
from atcore.variants.styling import UNTRAINED, Styling

Images = NDArray[np.uint8]

# Functions of the pixels and the level alone.
_OF_PIXELS: dict[str, Callable[[Images, float], Images]] = {
    "saturated": saturated,
    "brightness": scaled,
    "edges": draw,
    "low_pass": low_pass,
    "high_pass": high_pass,
}
KINDS = ("stylized", "cue_conflict", "patch_shuffled", *_OF_PIXELS)


def vary(
    kind: str,
    table: ImageTable,
    level: float,
    pool: ImageTable | StoredTable,
    seed: int,
    styling: Styling = UNTRAINED,
) -> ImageTable:
    """The same rows with other images, and with texture labels where these are known.

    What happens to an image depends on its id, the level, the seed and the pool, never on the other
    rows of `table`, so that a table may be cut into shards in any way.

    Args:
        kind: one of `KINDS`.
        pool: the whole test split, which `cue_conflict` takes textures from.
        styling: of `stylized` and `cue_conflict`.

    Raises:
        UserError: the images do not allow the level; names the level, the size of the images and
            what is allowed.
    """
    match kind:
        case "stylized":
            return stylized.apply(table, level, seed, styling)
        case "cue_conflict":
            return cue_conflict.apply(table, level, pool, seed, styling)
        case "patch_shuffled":
            return patch_shuffled.apply(table, level, seed)
    return replace(table, images=_OF_PIXELS[kind](table.images, level))
