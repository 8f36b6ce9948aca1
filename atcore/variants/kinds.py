"""Test-set variants: functions of the test images, most of which destroy shape or texture.

Each module defines one kind: `apply(table, level, pool, seed)` transforms the rows of an image
table. What happens to an image depends on its id, the level, the seed and the pool (the whole test
split), never on the other rows of `table`, so that a table may be cut into shards in any way.
"""

from typing import Protocol

from atcore.images.table import ImageTable
from atcore.variants import (
    brightness,
    cue_conflict,
    edges,
    high_pass,
    low_pass,
    patch_shuffled,
    saturated,
    stylized,
)
from atcore.variants.styling import UNTRAINED, Styling


class Kind(Protocol):
    """The interface of the modules of this package.

    `apply` raises UserError where the images do not allow the level; the message names the level,
    the size of the images and what is allowed. Only `stylized` and `cue_conflict` use `styling`.
    """

    def apply(
        self,
        table: ImageTable,
        level: float,
        pool: ImageTable,
        seed: int,
        styling: Styling = UNTRAINED,
    ) -> ImageTable: ...


KINDS: dict[str, Kind] = {
    "stylized": stylized,
    "saturated": saturated,
    "patch_shuffled": patch_shuffled,
    "cue_conflict": cue_conflict,
    "brightness": brightness,
    "edges": edges,
    "low_pass": low_pass,
    "high_pass": high_pass,
}
