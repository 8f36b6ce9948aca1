"""Parquet files in the Hugging Face image layout."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from atcore.base.arrow import readable
from atcore.base.errors import UserError
from atcore.base.mistaken import mistaken
from atcore.sources import labels
from atcore.sources.entries import file_bytes
from atcore.sources.images import Images
from atcore.sources.labels import UNLABELLED, Labels
from atcore.sources.shards import EMPTY, Shard, within

_IMAGES = ("image", "img")
_BATCH = 256
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_LABELS = (*_TEXT, pa.types.is_integer, pa.types.is_boolean, pa.types.is_dictionary)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    with readable(path, "Parquet"), path.open("rb") as start:
        if what := mistaken(start.read(1024)):
            raise UserError(f"{path}: {what}")
    # Without a memory map, a whole column of a row group would be read at once.
    with readable(path, "Parquet"), pq.ParquetFile(path, memory_map=True) as file:
        yield file


def _features(path: Path, schema: pa.Schema) -> dict[str, Any]:
    """What the library `datasets` says of the columns, in the metadata, if it has written the file.

    Raises:
        UserError: the metadata is not what that library writes.
    """
    text = (schema.metadata or {}).get(b"huggingface", b'{"info": {}}')
    try:
        features = json.loads(text)["info"].get("features") or {}
        return {name: each for name, each in features.items() if isinstance(each, dict)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its `huggingface` metadata cannot be understood") from error


# --- labels ---------------------------------------------------------------------------------------


def _label_column(
    path: Path, schema: pa.Schema, features: Mapping[str, Any], image: str, key: str | None
) -> str:
    likely = [name for name in schema.names if features.get(name, {}).get("names") is not None]
    possible = [
        field.name
        for field in schema
        if field.name != image and any(fits(field.type) for fits in _LABELS)
    ]
    column = labels.column(path, schema.names, (likely, possible), key)
    return labels.only(path, schema.names, column)


def _names(path: Path, column: str, feature: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What the metadata calls the classes, in the order of their numbers, if it does.

    Raises:
        UserError: these are no names, a class has none, or two have the same.
    """
    said = feature.get("names")
    if said is None:
        return None
    place = f"{path}: column {column}: in its `huggingface` metadata"
    mend = "mend them, or write the file without that metadata"
    # The cards of datasets, from which some files are written, have numbers as keys.
    listed = [said.get(str(i)) for i in range(len(said))] if isinstance(said, dict) else said
    if not isinstance(listed, list) or not listed:
        raise UserError(
            f"{place} the names of classes are {json.dumps(said)}, not a list such as "
            f'["cat", "dog"]; {mend}'
        )
    names: dict[str, None] = {}
    for number, each in enumerate(listed):
        known = isinstance(each, str | int | float) and not isinstance(each, bool)
        name = labels.word(str(each)) if known else ""
        if not name:
            raise UserError(
                f"{place} the name of class {number} is {json.dumps(each)}, not a text; {mend}"
            )
        if name in names:
            raise UserError(
                f"{place} two classes have the name {name!r}, {list(names).index(name)} and "
                f"{number}; {mend}"
            )
        names[name] = None
    return tuple(names)


def _whole(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers of floating-point numbers, as pandas writes integers where some are missing."""
    return pc.if_else(pc.is_nan(values), None, values).cast(pa.int64())


def _labels(path: Path, name: str, values: pa.ChunkedArray, feature: Mapping[str, Any]) -> Labels:
    kind = values.type
    try:
        if pa.types.is_dictionary(kind):
            return _labels(path, name, values.cast(kind.value_type), feature)
        if pa.types.is_boolean(kind):
            return labels.of_names(values.cast(pa.string()).to_pylist())
        if any(fits(kind) for fits in _TEXT):
            return labels.of_names(values.to_pylist())
        if pa.types.is_floating(kind):
            return _labels(path, name, _whole(values), feature)
        if not (pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise UserError(
                f"{path}: column {name} is {kind}, neither numbers nor names of classes"
            )
        numbers = values.cast(pa.int64()).fill_null(UNLABELLED).to_numpy()
    except (UnicodeDecodeError, pa.ArrowInvalid) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: column {name} has a value that is no label: {reason}") from error
    return labels.of_numbers(
        numbers,
        _names(path, name, feature),
        lambda row: f"{path}: row {row}: {name}",
    )


# --- images ---------------------------------------------------------------------------------------


def _leaves(field: pa.Field) -> dict[str, str]:
    """The columns of the file in which a column of the table has `bytes`, `path` or both."""
    kind, kinds = field.type, {"bytes": _BYTES, "path": _TEXT}
    if not pa.types.is_struct(kind):
        return {
            part: field.name for part, checks in kinds.items() if any(fits(kind) for fits in checks)
        }
    return {
        inner.name: f"{field.name}.{inner.name}"
        for inner in kind
        if any(fits(inner.type) for fits in kinds.get(inner.name, ()))
    }


def _image_column(path: Path, schema: pa.Schema) -> str:
    """That of the usual name, else the only one of bytes."""
    usual = [name for name in _IMAGES if name in schema.names]
    possible = [field.name for field in schema if "bytes" in _leaves(field)]
    found = usual[:1] or possible
    if len(set(found)) != 1:
        raise UserError(
            f"{path}: no column image or img for the images; columns: {', '.join(schema.names)}"
        )
    return labels.only(path, schema.names, found[0])


def _part(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The `bytes` or the `path` of a batch that has the image column alone."""
    column = batch.column(0)
    return column.field(name) if pa.types.is_struct(column.type) else column


def _has_all(file: pq.ParquetFile, leaf: str) -> bool:
    """Whether the file's statistics say that no row lacks a value."""
    metadata = file.metadata
    index = [metadata.schema.column(i).path for i in range(metadata.num_columns)].index(leaf)
    statistics = [
        metadata.row_group(i).column(index).statistics for i in range(file.num_row_groups)
    ]
    return all(
        each is not None and each.has_null_count and not each.null_count for each in statistics
    )


def _outside(file: pq.ParquetFile, leaves: Mapping[str, str]) -> dict[int, str]:
    """Rows without bytes that name a file, and its name."""
    if "path" not in leaves or ("bytes" in leaves and _has_all(file, leaves["bytes"])):
        return {}
    found: dict[int, str] = {}
    start = 0
    for batch in file.iter_batches(_BATCH, columns=list(leaves.values())):
        paths = _part(batch, "path").to_pylist()
        lacking = _part(batch, "bytes").is_null().to_pylist() if "bytes" in leaves else paths
        for row, (name, without) in enumerate(zip(paths, lacking, strict=True), start):
            if name and without:
                found[row] = name
        start += len(batch)
    return found


def _inside(path: Path, leaf: str, rows: NDArray[np.int64]) -> Iterator[bytes]:
    """The bytes in ascending rows; empty where a row has none."""
    group_start = 0
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            wanted = within(rows, group_start, count)
            group_start += count
            if not len(wanted):
                continue
            start = 0
            for batch in file.iter_batches(_BATCH, row_groups=[group], columns=[leaf]):
                images = _part(batch, "bytes")
                for row in within(wanted, start, len(images)):
                    yield images[row].as_py() or b""
                start += len(images)


def opener(path: Path, images: Images, key: str | None) -> Shard:
    """Open a Parquet file.

    Its images are a column `image` or `img`, or the only column of bytes: bytes, names of files, or
    a struct of `bytes` and `path`, of which the bytes count where a row has both. Its labels are
    numbers or names of classes, in the column that `labels.column` says; the names that the library
    `datasets` leaves in the metadata belong to the numbers.

    Raises:
        UserError: the file is damaged, or lacks a column; a label is no class's, or an image file
            is not there.
    """
    with _opened(path) as file:
        if not file.metadata.num_rows:
            return EMPTY
        schema = file.schema_arrow
        features = _features(path, schema)
        image = _image_column(path, schema)
        leaves = _leaves(schema.field(image))
        if not leaves:
            raise UserError(
                f"{path}: column {image} is {schema.field(image).type}, not bytes, nor a struct "
                "with bytes"
            )
        label = _label_column(path, schema, features, image, key)
        values = file.read(columns=[label]).column(label)
        outside = _outside(file, leaves)
    rows = list(outside)
    found = images.paths(path, list(outside.values()), lambda i: f"{path}: row {rows[i]}")
    files = dict(zip(rows, found, strict=True))

    def read(rows: NDArray[np.int64]) -> Iterator[bytes]:
        own = np.array([row for row in rows if row not in files], np.int64)
        inside = _inside(path, leaves["bytes"], own) if "bytes" in leaves else iter(())
        for row in rows:
            yield file_bytes(files[row]) if row in files else next(inside, b"")

    return Shard(
        names=[str(files.get(row, f"{path}: row {row}")) for row in range(len(values))],
        labels=_labels(path, label, values, features.get(label, {})),
        read=read,
        files=files.values(),
    )
