"""The image table: images of one size with what is known of them, in memory.

How tables lie on disk is in `atcore.images.stored`.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What images are called that no variant has changed.
CLEAN = "clean"
# Of all images that a piece of work holds; what is computed of a pixel takes a hundred bytes.
_PIXELS = 250 * 64**2


def at_most(count: int, side: int) -> int:
    """How many images of `side` pixels a piece of work holds: `count`, or fewer of large ones."""
    return max(1, min(count, _PIXELS // side**2))


def slices(count: int, size: int) -> list[slice]:
    """`count` rows cut into pieces of `size`; the last one may have fewer."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


@dataclass(frozen=True)
class ImageTable:
    """Images of one size with their labels.

    Attributes:
        ids: int64, N; unique within a dataset over all of its splits.
        images: uint8, N x H x W x 3, 0 to 255.
        labels: int32, N, indices into `classes`.
        classes: class names.
        texture_labels: int32, N, the class whose texture an image shows, or None.
        origin: what generated the images: JSON values by name.
    """

    ids: NDArray[np.int64]
    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    texture_labels: NDArray[np.int32] | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, part: slice | NDArray[np.int64]) -> "ImageTable":
        """The table of some of the rows."""
        textures = None if self.texture_labels is None else self.texture_labels[part]
        return replace(
            self,
            ids=self.ids[part],
            images=self.images[part],
            labels=self.labels[part],
            texture_labels=textures,
        )

    def shards(self, size: int) -> list["ImageTable"]:
        """The table cut into pieces of `size` rows; the cut depends on nothing else."""
        return [self.rows(part) for part in slices(len(self), size)]


def concatenate(parts: list[ImageTable]) -> ImageTable:
    """One table of all rows, in order; the parts agree in everything but their rows."""
    textures = [part.texture_labels for part in parts if part.texture_labels is not None]
    return replace(
        parts[0],
        ids=np.concatenate([part.ids for part in parts]),
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        texture_labels=np.concatenate(textures) if textures else None,
    )
