"""The image table: how every split and every variant lies on disk.

Parquet with columns `id` int64, `image` (uint8, H x W x 3), `label` int32 and, where an image has
a texture of its own class, `texture_label` int32. Class names and what generated the images are in
the schema's metadata. Equal tables give equal bytes.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atcore.base import parquet
from atcore.base.errors import UserError

# What images are called that no variant has changed.
CLEAN = "clean"

_METADATA = b"atcnn"
_ROW_GROUP = 4096


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
        return [self.rows(slice(start, start + size)) for start in range(0, len(self), size)]

    def evenly(self, count: int) -> NDArray[np.int64]:
        """Positions of `count` images: the first one of each class, then the second ones, ..."""
        by_label = np.argsort(self.labels, kind="stable")
        first = np.searchsorted(self.labels[by_label], self.labels[by_label])
        turn = np.arange(len(self)) - first
        return by_label[np.argsort(turn, kind="stable")][:count]


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


def write(table: ImageTable, path: Path) -> None:
    """Write atomically."""
    shape = table.images.shape[1:]
    storage = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(table.images).reshape(-1)), int(np.prod(shape))
    )
    image_type = pa.fixed_shape_tensor(pa.uint8(), shape)
    columns = {
        "id": pa.array(table.ids, pa.int64()),
        "image": pa.ExtensionArray.from_storage(image_type, storage),
        "label": pa.array(table.labels, pa.int32()),
    }
    if table.texture_labels is not None:
        columns["texture_label"] = pa.array(table.texture_labels, pa.int32())
    metadata = json.dumps({"classes": table.classes, "origin": table.origin}, sort_keys=True)
    arrow = pa.table(columns).replace_schema_metadata({_METADATA: metadata.encode()})
    parquet.write(arrow, path, row_group_size=_ROW_GROUP)


def _labels(arrow: pa.Table, name: str, classes: int, path: Path) -> NDArray[np.int32]:
    labels = arrow.column(name).to_numpy()
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        row = int(wrong[0])
        raise UserError(f"{path}: row {row}: {name} {labels[row]} is not in 0..{classes - 1}")
    return labels.astype(np.int32)


def read(path: Path) -> ImageTable:
    """Read and validate.

    Raises:
        UserError: the file is no image table; names the file and, where there is one, the row.
    """
    arrow = parquet.read(path)
    wanted = {"id": pa.int64(), "label": pa.int32()}
    if "texture_label" in arrow.column_names:
        wanted["texture_label"] = pa.int32()
    for name, kind in wanted.items():
        if name not in arrow.column_names or arrow.schema.field(name).type != kind:
            raise UserError(f"{path}: no column {name} of type {kind}")
    if "image" not in arrow.column_names:
        raise UserError(f"{path}: no column image")
    image_type = arrow.schema.field("image").type
    if not isinstance(image_type, pa.FixedShapeTensorType):
        raise UserError(f"{path}: column image is {image_type}, not a fixed-shape tensor")
    shape = tuple(image_type.shape)
    if image_type.value_type != pa.uint8() or len(shape) != 3 or shape[2] != 3:
        raise UserError(f"{path}: images are {image_type.value_type} {shape}, not uint8 H x W x 3")
    for name in arrow.column_names:
        if arrow.column(name).null_count:
            row = arrow.column(name).is_null().index(True).as_py()
            raise UserError(f"{path}: row {row}: {name} is null")
    try:
        metadata = json.loads((arrow.schema.metadata or {})[_METADATA])
        classes, origin = tuple(metadata["classes"]), metadata["origin"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: no class names in the schema's metadata, or no origin of the images"
        ) from error
    storage = arrow.column("image").combine_chunks().storage
    pixels = storage.flatten().to_numpy()
    textures = None
    if "texture_label" in arrow.column_names:
        textures = _labels(arrow, "texture_label", len(classes), path)
    return ImageTable(
        ids=arrow.column("id").to_numpy(),
        images=pixels.reshape(-1, *shape),
        labels=_labels(arrow, "label", len(classes), path),
        classes=classes,
        texture_labels=textures,
        origin=origin,
    )
