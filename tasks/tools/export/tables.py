"""Image tables in formats that other programs open."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from atcore.base.errors import UserError
from atcore.images.stored import StoredTable
from atcore.images.table import ImageTable

# Images of a group of rows, of which a viewer reads one as a whole.
_GROUP = 100


def _png(pixels: NDArray[np.uint8]) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def _names(table: StoredTable, rows: ImageTable) -> list[str]:
    """Of the images' files, which are in the order of their ids."""
    digits = len(str(table.ids.max(initial=0)))
    return [f"{image_id:0{digits}}.png" for image_id in rows.ids.tolist()]


def _schema(table: StoredTable) -> pa.Schema:
    """With the metadata from which the library `datasets` knows images and class names."""
    classes = {"names": list(table.classes), "_type": "ClassLabel"}
    columns = {
        "id": (pa.int64(), {"dtype": "int64", "_type": "Value"}),
        "image": (pa.struct({"bytes": pa.binary(), "path": pa.string()}), {"_type": "Image"}),
        "label": (pa.int64(), classes),
    }
    if table.texture_labels is not None:
        columns["texture_label"] = (pa.int64(), classes)
    features = {name: feature for name, (_, feature) in columns.items()}
    types = {name: kind for name, (kind, _) in columns.items()}
    text = json.dumps({"info": {"features": features}})
    return pa.schema(types.items(), {b"huggingface": text.encode()})


def to_parquet(table: StoredTable, file: Path, advance: Callable[[int, str], None]) -> None:
    """Write a Hugging Face image dataset."""
    schema = _schema(table)
    with pq.ParquetWriter(file, schema, compression="none") as writer:
        for part in table.verified():
            for rows in part.shards(_GROUP):
                columns = {
                    "id": rows.ids,
                    "image": [
                        {"bytes": _png(pixels), "path": name}
                        for pixels, name in zip(rows.images, _names(table, rows), strict=True)
                    ],
                    "label": rows.labels,
                    "texture_label": rows.texture_labels,
                }
                arrays = [pa.array(columns[field.name], field.type) for field in schema]
                writer.write_table(pa.table(arrays, schema=schema), row_group_size=_GROUP)
                advance(len(rows), "")


def to_folder(table: StoredTable, folder: Path, advance: Callable[[int, str], None]) -> None:
    """Write PNG files in a folder for each class.

    Raises:
        UserError: a class has a name that a folder cannot have.
    """
    for name in table.classes:
        if name != Path(name).name or name.startswith("."):
            raise UserError(
                f"{table.path}: no folder can have the name of the class {name!r}; "
                "export to parquet instead"
            )
        (folder / name).mkdir(parents=True)
    for part in table.verified():
        labels = part.labels.tolist()
        for pixels, label, name in zip(part.images, labels, _names(table, part), strict=True):
            (folder / table.classes[label] / name).write_bytes(_png(pixels))
        advance(len(part), "")


FORMATS = {"parquet": to_parquet, "folder": to_folder}
