"""Image tables of random pixels, and when two of them are the same."""

import numpy as np
from sameness import assert_same_arrays

from atcore.images.table import ImageTable


def image_table(count: int, *, textures: bool = False, side: int = 6, seed: int = 0) -> ImageTable:
    rng = np.random.default_rng(seed)
    return ImageTable(
        ids=rng.permutation(count).astype(np.int64) + 2**40,
        images=rng.integers(0, 256, (count, side, side + 1, 3), dtype=np.uint8),
        labels=rng.integers(0, 3, count).astype(np.int32),
        classes=("cat", "dog", "Käfer"),
        texture_labels=rng.integers(0, 3, count).astype(np.int32) if textures else None,
        origin={"generator": "test", "seed": 4, "nested": {"share": 0.5, "none": None}},
    )


def assert_same(found: ImageTable, expected: ImageTable) -> None:
    assert_same_arrays(found, expected, ("ids", "images", "labels", "texture_labels"))
    assert found.classes == expected.classes
    assert found.origin == expected.origin
