"""Parquet files in the Hugging Face image layout."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from atcore.base.arrow import readable
from atcore.base.errors import UserError
from atcore.base.wording import some
from atcore.sources.entries import Entries, Source, contents
from atcore.sources.naming import by_split, require_all_shards

_IMAGES = ("image", "img")
_LABELS = ("label", "labels", "fine_label")
_BATCH = 256


@dataclass(frozen=True)
class _File:
    path: Path
    image_column: str
    labels: NDArray[np.int64]
    classes: tuple[str, ...] | None


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    # Without a memory map, a whole column of a row group would be read at once.
    with readable(path, "Parquet"), pq.ParquetFile(path, memory_map=True) as file:
        yield file


def _column(path: Path, schema: pa.Schema, names: tuple[str, ...], what: str) -> str:
    for name in names:
        if name in schema.names:
            return name
    found = ", ".join(schema.names)
    raise UserError(f"{path}: no column {' or '.join(names)} for the {what}; columns: {found}")


def _class_names(path: Path, schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """`names` of the label's feature in the metadata of the library `datasets`, if they are there.

    Raises:
        UserError: the metadata is not what that library writes.
    """
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return None
    try:
        names = json.loads(text)["info"]["features"].get(label, {}).get("names")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its `huggingface` metadata cannot be understood") from error
    return None if names is None else tuple(names)


def _file(path: Path) -> _File:
    with _opened(path) as file:
        schema = file.schema_arrow
        image = _column(path, schema, _IMAGES, "images")
        label = _column(path, schema, _LABELS, "labels")
        image_type, label_type = schema.field(image).type, schema.field(label).type
        if not pa.types.is_struct(image_type) or image_type.get_field_index("bytes") < 0:
            raise UserError(f"{path}: column {image} is {image_type}, not a struct with bytes")
        if not pa.types.is_integer(label_type):
            raise UserError(f"{path}: column {label} is {label_type}, not an integer")
        labels = file.read(columns=[label]).column(label)
    if not len(labels):
        raise UserError(f"{path}: no rows in it")
    if labels.null_count:
        row = labels.is_null().index(True).as_py()
        raise UserError(f"{path}: row {row}: {label} is null")
    values = labels.to_numpy().astype(np.int64)
    classes = _class_names(path, schema, label)
    limit = np.iinfo(np.int32).max if classes is None else len(classes)
    for row in np.flatnonzero((values < 0) | (values >= limit)):
        allowed = "a class's number" if classes is None else f"in 0..{limit - 1}"
        raise UserError(f"{path}: row {row}: {label} {values[row]} is not {allowed}")
    return _File(path, image, values, classes)


def _classes(files: list[_File]) -> tuple[str, ...]:
    first = files[0]
    for file in files:
        if file.classes != first.classes:
            raise UserError(f"{file.path}: its class names differ from those of {first.path}")
    if first.classes is not None:
        return first.classes
    return tuple(map(str, range(1 + max(int(file.labels.max()) for file in files))))


def _within(rows: NDArray[np.int64], start: int, count: int) -> NDArray[np.int64]:
    """Those of the ascending rows in start..start + count - 1, counted from `start`."""
    low, high = np.searchsorted(rows, (start, start + count))
    return rows[low:high] - start


def _read(file: _File, rows: NDArray[np.int64]) -> Iterator[bytes]:
    """Encoded images of the ascending rows; empty where a row has none."""
    column = [f"{file.image_column}.bytes"]
    group_start = 0
    with _opened(file.path) as opened:
        for group in range(opened.num_row_groups):
            count = opened.metadata.row_group(group).num_rows
            wanted = _within(rows, group_start, count)
            group_start += count
            if not len(wanted):
                continue
            start = 0
            for batch in opened.iter_batches(_BATCH, row_groups=[group], columns=column):
                images = batch.column(0).field("bytes")
                for row in _within(wanted, start, len(images)):
                    yield images[row].as_py() or b""
                start += len(images)


def load(folder: Path) -> Source:
    """List the rows of `folder`/*.parquet.

    Files belong to the split that a word in their names says (`naming`); without such words all
    are for training. The images are a struct with `bytes` in a column `image` or `img`, the labels
    an integer column `label`, `labels` or `fine_label`. Class names are those the library
    `datasets` leaves in the metadata, else the labels' numbers.

    Raises:
        UserError: something else than Parquet files is in the folder, a name does not say which
            split it is, a shard is absent, a file is damaged, lacks a column or disagrees on the
            class names, or a label is not one of a class.
    """
    paths = contents(folder)
    for path in paths:
        if path.suffix != ".parquet" or not path.is_file():
            raise UserError(f"{path}: not expected here; allowed: *.parquet")
    require_all_shards(paths)
    splits = by_split(paths)
    files = {path: _file(path) for path in paths}

    def read(split: str, indices: NDArray[np.int64]) -> Iterator[bytes]:
        start = 0
        for path in splits[split]:
            count = len(files[path].labels)
            yield from _read(files[path], _within(indices, start, count))
            start += count

    return Source(
        classes=_classes(list(files.values())),
        splits={
            split: Entries(
                place=some([path.name for path in members]),
                names=[
                    f"{path}: row {row}"
                    for path in members
                    for row in range(len(files[path].labels))
                ],
                labels=np.concatenate([files[path].labels for path in members]).astype(np.int32),
            )
            for split, members in splits.items()
        },
        read=read,
    )
