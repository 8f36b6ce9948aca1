"""Image tables on disk: how every split and every variant lies there.

An Arrow IPC file, uncompressed, with columns `id` int64, `image` (uint8, H x W x 3), `label` int32
and, where an image has a texture of its own class, `texture_label` int32. Class names and what
generated the images are in the schema's metadata, the checksum of a batch of rows in its own, the
number of all rows in that of the last one. Equal tables give equal bytes, however their rows were
handed to the writer.

Only the rows that are asked for are read. They are read and not mapped, because pages of a map
count as memory of whoever has looked at them; the page cache holds them once for all processes.
"""

import hashlib
import json
import mmap
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atcore.base.arrow import WRITE_AGAIN, array, readable
from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images.table import ImageTable, concatenate

_METADATA, _CHECKSUM, _ROWS = b"atcnn", b"sha256", b"rows"
# Of the pixels of a batch: what a writer holds, and the least that can be verified.
_BATCH_BYTES = 8 * 2**20

Rows = slice | NDArray[np.int64]


def _metadata(table: ImageTable) -> bytes:
    return json.dumps({"classes": table.classes, "origin": table.origin}, sort_keys=True).encode()


def _checksum(rows: ImageTable, start: int) -> bytes:
    """Of everything that is known of the rows, of which `start` is the first one."""
    content = hashlib.sha256(_metadata(rows))
    content.update(repr((start, *rows.images.shape)).encode())
    for column in (rows.ids, rows.images, rows.labels, rows.texture_labels):
        if column is not None:
            content.update(np.ascontiguousarray(column).data)
    return content.hexdigest().encode()


# --- writing --------------------------------------------------------------------------------------


def _batch(rows: ImageTable) -> pa.RecordBatch:
    shape = rows.images.shape[1:]
    pixels = array(rows.images, pa.uint8())
    storage = pa.FixedSizeListArray.from_arrays(pixels, int(np.prod(shape)))
    columns = {
        "id": array(rows.ids, pa.int64()),
        "image": pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.uint8(), shape), storage),
        "label": array(rows.labels, pa.int32()),
    }
    if rows.texture_labels is not None:
        columns["texture_label"] = array(rows.texture_labels, pa.int32())
    return pa.record_batch(columns).replace_schema_metadata({_METADATA: _metadata(rows)})


class _Writer:
    """Cuts rows into batches whose number of rows depends on nothing but the size of an image."""

    def __init__(self, path: Path, like: ImageTable) -> None:
        none = like.rows(slice(0, 0))
        self._file = pa.ipc.new_file(str(path), _batch(none).schema)
        self._size = max(1, _BATCH_BYTES // int(np.prod(like.images.shape[1:])))
        self._waiting, self._written = [none], 0

    def add(self, rows: ImageTable) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= self._size:
            waiting = concatenate(self._waiting)
            whole = len(waiting) - len(waiting) % self._size
            for batch in waiting.rows(slice(whole)).shards(self._size):
                self._write(batch, {})
            # A copy: a view would keep what it is a view of.
            self._waiting = [concatenate([waiting.rows(slice(whole, None))])]

    def _write(self, rows: ImageTable, metadata: dict[bytes, bytes]) -> None:
        checksum = _checksum(rows, self._written)
        self._file.write_batch(_batch(rows), {_CHECKSUM: checksum, **metadata})
        self._written += len(rows)

    def end(self) -> None:
        """Write the last batch, without rows if none are left."""
        rest = concatenate(self._waiting)
        self._write(rest, {_ROWS: str(self._written + len(rest)).encode()})

    def close(self) -> None:
        self._file.close()


@contextmanager
def writing(path: Path) -> Iterator[Callable[[ImageTable], None]]:
    """Yield a function that appends rows; they appear as a table, atomically, when the block ends.

    It takes tables that agree in everything but their rows. No more is in memory than the last one
    and a batch.
    """
    with replacing(path) as temporary, ExitStack() as stack:
        writer: _Writer | None = None

        def add(rows: ImageTable) -> None:
            nonlocal writer
            if writer is None:
                writer = stack.enter_context(closing(_Writer(temporary, rows)))
            writer.add(rows)

        yield add
        if writer is not None:
            writer.end()


def write(table: ImageTable, path: Path) -> None:
    """Write what is in memory, atomically."""
    with writing(path) as add:
        add(table)


# --- reading --------------------------------------------------------------------------------------


class _File:
    """A file that several threads may read, and which stays open as long as somebody holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)

    def map(self) -> mmap.mmap:
        if not os.fstat(self.descriptor).st_size:
            raise pa.ArrowInvalid("it is empty")
        return mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ)

    def read(self, into: memoryview, offset: int) -> None:
        done = 0
        while done < len(into):
            count = os.preadv(self.descriptor, [into[done:]], offset + done)
            if not count:
                raise UserError(f"{self.path}: became shorter while it was read")
            done += count


class StoredImages:
    """The images of a table on disk: like an array uint8, N x H x W x 3, whose rows are read."""

    def __init__(
        self, file: _File, offsets: NDArray[np.int64], shape: tuple[int, int, int]
    ) -> None:
        self._file, self._offsets = file, offsets
        self.shape = (len(offsets), *shape)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, rows: Rows) -> NDArray[np.uint8]:
        """Copies of some rows, in their order.

        Raises:
            UserError: the file became shorter.
        """
        offsets = self._offsets[rows]
        size = int(np.prod(self.shape[1:]))
        pixels = np.empty(len(offsets) * size, np.uint8)
        # Neighbours in the file are read in one go.
        first = np.flatnonzero(np.diff(offsets, prepend=-size - 1) != size)
        for start, end in pairwise([*first.tolist(), len(offsets)]):
            self._file.read(pixels[start * size : end * size].data, int(offsets[start]))
        return pixels.reshape(len(offsets), *self.shape[1:])


def _columns(schema: pa.Schema) -> dict[str, pa.DataType]:
    """All but the images."""
    columns = {"id": pa.int64(), "label": pa.int32()}
    return columns | ({"texture_label": pa.int32()} if "texture_label" in schema.names else {})


def _image_shape(schema: pa.Schema, path: Path) -> tuple[int, int, int]:
    """Checks the types of all columns."""
    for name, kind in _columns(schema).items():
        if name not in schema.names or schema.field(name).type != kind:
            raise UserError(f"{path}: no column {name} of type {kind}")
    if "image" not in schema.names:
        raise UserError(f"{path}: no column image")
    image = schema.field("image").type
    if not isinstance(image, pa.FixedShapeTensorType):
        raise UserError(f"{path}: column image is {image}, not a fixed-shape tensor")
    shape = tuple(image.shape)
    if image.value_type != pa.uint8() or len(shape) != 3 or shape[2] != 3:
        raise UserError(f"{path}: images are {image.value_type} {shape}, not uint8 H x W x 3")
    height, width, channels = shape
    return height, width, channels


def _described(schema: pa.Schema, path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Class names, and the origin of the images."""
    try:
        metadata = json.loads((schema.metadata or {})[_METADATA])
        return tuple(metadata["classes"]), metadata["origin"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: no class names in the schema's metadata, or no origin of the images"
        ) from error


@dataclass(frozen=True)
class _Batch:
    """What a file says of a batch of rows: columns but the images, and where their pixels lie."""

    columns: dict[str, NDArray[Any]]
    pixels: int
    checksum: bytes

    def __len__(self) -> int:
        return len(self.columns["id"])


def _batches(reader: pa.ipc.RecordBatchFileReader, file: pa.Buffer, path: Path) -> Iterator[_Batch]:
    start = 0
    for number in range(reader.num_record_batches):
        batch, metadata = reader.get_batch_with_custom_metadata(number)
        batch.validate()
        for name in batch.schema.names:
            if batch.column(name).null_count:
                row = start + batch.column(name).is_null().index(True).as_py()
                raise UserError(f"{path}: row {row}: {name} is null")
        if _CHECKSUM not in (metadata or {}):
            raise UserError(f"{path}: row {start}: no checksum in the metadata of its batch")
        pixels = batch.column("image").storage.flatten()
        offset = pixels.buffers()[1].address - file.address if len(batch) else 0
        if not 0 <= offset <= file.size - len(pixels):
            raise UserError(f"{path}: row {start}: its pixels are compressed")
        # Its to_numpy would import pandas, which takes a second.
        columns = {
            name: np.from_dlpack(batch.column(name)).copy() for name in _columns(reader.schema)
        }
        yield _Batch(columns, offset, metadata[_CHECKSUM])
        start += len(batch)
    if not reader.num_record_batches or (metadata or {}).get(_ROWS) != str(start).encode():
        raise UserError(f"{path}: some of its rows are missing; {WRITE_AGAIN}")


def _require_labels(labels: NDArray[np.int32], name: str, classes: int, path: Path) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        row = int(wrong[0])
        raise UserError(f"{path}: row {row}: {name} {labels[row]} is not in 0..{classes - 1}")


class StoredTable:
    """An image table on disk, open: all of it is in memory but the pixels.

    Attributes:
        path: of the file; what is open stays what it is if another file takes the name.
        ids, labels, classes, texture_labels, origin: as of an `ImageTable`.
        images: like an array; rows are read when they are asked for, and not verified.
        digest: a hash of the content, which the checksums of the batches give.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and check all but the pixels, in milliseconds whatever their number.

        Raises:
            UserError: the file is no image table; names the file and, where there is one, the row.
        """
        with readable(path, "Arrow", WRITE_AGAIN):
            file = _File(path)
            view = file.map()
            content = pa.py_buffer(view)
            reader = pa.ipc.open_file(content)
            shape = _image_shape(reader.schema, path)
            self.classes, self.origin = _described(reader.schema, path)
            batches = []
            for batch in _batches(reader, content, path):
                batches.append(batch)
                # Pages that were looked at would add up.
                view.madvise(mmap.MADV_DONTNEED)
        none = {
            name: np.empty(0, t.to_pandas_dtype()) for name, t in _columns(reader.schema).items()
        }
        columns = {
            name: np.concatenate([empty, *(batch.columns[name] for batch in batches)])
            for name, empty in none.items()
        }
        for name, values in columns.items():
            if name != "id":
                _require_labels(values, name, len(self.classes), path)
        self.path = path
        self.ids: NDArray[np.int64] = columns["id"]
        self.labels: NDArray[np.int32] = columns["label"]
        self.texture_labels: NDArray[np.int32] | None = columns.get("texture_label")
        places = [b.pixels + int(np.prod(shape)) * np.arange(len(b)) for b in batches]
        self.images = StoredImages(file, np.concatenate([none["id"], *places]), shape)
        self._ends = np.cumsum([len(batch) for batch in batches]).tolist()
        self._checksums = [batch.checksum for batch in batches]
        # The batches that have been verified.
        self._sound: set[int] = set()
        self.digest = hashlib.sha256(b" ".join(self._checksums)).hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, part: Rows) -> ImageTable:
        """Some of the rows, in their order, in memory.

        The batches that they are in are verified when the first of their rows is asked for.

        Raises:
            UserError: a batch is damaged; names the file and the rows.
        """
        positions = np.arange(len(self))[part]
        for number in np.unique(np.searchsorted(self._ends, positions, side="right")).tolist():
            if number not in self._sound:
                self._verified(number)
        return self._read(part)

    def _read(self, part: Rows) -> ImageTable:
        textures = None if self.texture_labels is None else self.texture_labels[part]
        return ImageTable(
            ids=self.ids[part],
            images=self.images[part],
            labels=self.labels[part],
            classes=self.classes,
            texture_labels=textures,
            origin=self.origin,
        )

    def _verified(self, number: int) -> ImageTable:
        """A batch that is what its checksum says."""
        start, end = self._ends[number - 1] if number else 0, self._ends[number]
        part = self._read(slice(start, end))
        if _checksum(part, start) != self._checksums[number]:
            raise UserError(
                f"{self.path}: rows {start} to {end - 1} are damaged, as their checksum says; "
                f"{WRITE_AGAIN}"
            )
        self._sound.add(number)
        return part

    def verified(self) -> Iterator[ImageTable]:
        """All rows, some MB at a time, each part held against its checksum; the last may be empty.

        Raises:
            UserError: a part is damaged; names the file and the rows.
        """
        for number in range(len(self._ends)):
            yield self._verified(number)

    def verify(self) -> None:
        """Verify the batches that have not been yet.

        Raises:
            UserError: one is damaged; names the file and the rows.
        """
        for number in range(len(self._ends)):
            if number not in self._sound:
                self._verified(number)

    def evenly(self, count: int) -> NDArray[np.int64]:
        """Positions of `count` images: the first one of each class, then the second ones, ..."""
        by_label = np.argsort(self.labels, kind="stable")
        first = np.searchsorted(self.labels[by_label], self.labels[by_label])
        turn = np.arange(len(self)) - first
        return by_label[np.argsort(turn, kind="stable")][:count]
