"""Image tables on disk: exact round trips, equal bytes, and errors that name file and row."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from disk import read_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_tables import assert_same, image_table
from refusals import assert_refused

from atcore.base.errors import UserError
from atcore.images import stored
from atcore.images.stored import StoredTable, write, writing
from atcore.images.table import ImageTable
from atcore.training.data import splits

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 7 of the images."""
    monkeypatch.setattr(stored, "_BATCH_BYTES", 1000)


@pytest.mark.parametrize("textures", [False, True], ids=["no textures", "textures"])
@pytest.mark.parametrize("count", [1, 6, 7, 8, 50])
def test_what_is_written_is_read(tmp_path: Path, count: int, textures: bool) -> None:
    table = image_table(count, textures=textures)
    path = tmp_path / "deep" / "test.arrow"
    write(table, path)
    assert_same(read_table(path), table)
    assert_same(StoredTable(path).rows(slice(None)), table)


@in_one_folder
@given(count=st.integers(1, 40), data=st.data())
def test_any_rows_are_read_in_any_order(tmp_path: Path, count: int, data: st.DataObject) -> None:
    table = image_table(count, textures=True)
    write(table, tmp_path / "test.arrow")
    rows = np.array(data.draw(st.lists(st.integers(0, count - 1))), np.int64)
    assert_same(StoredTable(tmp_path / "test.arrow").rows(rows), table.rows(rows))


def test_other_programs_find_columns_of_images_and_labels(tmp_path: Path) -> None:
    table = image_table(20, textures=True)
    write(table, tmp_path / "test.arrow")
    with pa.memory_map(str(tmp_path / "test.arrow")) as file:
        found = pa.ipc.open_file(file).read_all()
        images = np.concatenate([c.to_numpy_ndarray() for c in found.column("image").chunks])
        assert np.array_equal(images, table.images)
        assert found.column("label").to_pylist() == table.labels.tolist()
        del found


def test_a_table_without_rows_is_read_as_one(tmp_path: Path) -> None:
    empty = image_table(3, textures=True).rows(slice(0, 0))
    write(empty, tmp_path / "empty.arrow")
    assert_same(StoredTable(tmp_path / "empty.arrow").rows(slice(None)), empty)


def test_a_view_of_some_rows_is_written_as_it_looks(tmp_path: Path) -> None:
    part = image_table(20, textures=True).rows(slice(3, 17, 2))
    write(part, tmp_path / "part.arrow")
    assert_same(read_table(tmp_path / "part.arrow"), part)


@in_one_folder
@given(count=st.integers(1, 40), cuts=st.lists(st.integers(0, 40)), textures=st.booleans())
def test_equal_tables_give_equal_bytes_however_they_are_handed_over(
    tmp_path: Path, count: int, cuts: list[int], textures: bool
) -> None:
    table = image_table(count, textures=textures)
    write(table, tmp_path / "whole.arrow")
    reordered = replace(table, origin=dict(reversed(table.origin.items())))
    with writing(tmp_path / "parts.arrow") as add:
        ends = [0, *sorted(min(cut, count) for cut in cuts), count]
        for start, end in pairwise(ends):
            add(reordered.rows(slice(start, end)))
    assert (tmp_path / "parts.arrow").read_bytes() == (tmp_path / "whole.arrow").read_bytes()


CHANGES: dict[str, Callable[[ImageTable], ImageTable]] = {
    "pixel": lambda table: replace(table, images=np.maximum(table.images, 1)),
    "id": lambda table: replace(table, ids=table.ids + (np.arange(20) == 9)),
    "label": lambda table: replace(table, labels=np.roll(table.labels, 1)),
    "texture": lambda table: replace(table, texture_labels=None),
    "class": lambda table: replace(table, classes=("cat", "dog", "Kafer")),
    "origin": lambda table: replace(table, origin={}),
    "shape": lambda table: replace(table, images=table.images.transpose(0, 2, 1, 3)),
    "order": lambda table: table.rows(np.arange(20)[::-1]),
    "rows": lambda table: table.rows(slice(19)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_differs_has_another_digest(
    tmp_path: Path, change: Callable[[ImageTable], ImageTable]
) -> None:
    table = image_table(20, textures=True)
    digests = []
    for name, each in (("a", table), ("b", table), ("c", change(table))):
        write(each, tmp_path / f"{name}.arrow")
        digests.append(StoredTable(tmp_path / f"{name}.arrow").digest)
    assert digests[0] == digests[1] != digests[2]


def test_an_open_table_stays_what_it_is_when_its_file_is_replaced(tmp_path: Path) -> None:
    path, first = tmp_path / "test.arrow", image_table(20)
    write(first, path)
    table = StoredTable(path)
    write(image_table(20, seed=1), path)
    assert_same(table.rows(slice(None)), first)


def test_images_are_the_first_of_each_class_then_the_second_ones(tmp_path: Path) -> None:
    labels = np.array([2, 2, 0, 0, 0, 1], np.int32)
    write(replace(image_table(6), labels=labels), tmp_path / "test.arrow")
    table = StoredTable(tmp_path / "test.arrow")
    assert table.evenly(5).tolist() == [2, 5, 0, 3, 1]
    assert table.evenly(9).tolist() == [2, 5, 0, 3, 1, 4]


# --- damage ---------------------------------------------------------------------------------------


def test_whatever_byte_is_flipped_it_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path, table = tmp_path / "test.arrow", image_table(9, textures=True, side=2)
    write(table, path)
    good = path.read_bytes()
    noticed = 0
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        with suppress(UserError):
            assert_same(read_table(path), table)
            continue
        noticed += 1
    assert noticed > table.images.size + 9 * (8 + 4 + 4)


def test_a_flipped_pixel_is_named_with_its_rows(tmp_path: Path) -> None:
    path, table = tmp_path / "test.arrow", image_table(20)
    write(table, path)
    data = path.read_bytes()
    place = data.index(table.images[9].tobytes())
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    stored = StoredTable(path)
    assert_refused(read_table, path, "rows 7 to 13 are damaged")
    # Whoever reads some rows does not get it, and those of other batches are as they were.
    for rows in (slice(8, 9), slice(5, 10), slice(None), np.array([19, 13])):
        with pytest.raises(UserError, match="rows 7 to 13 are damaged"):
            stored.rows(rows)
    for sound in (slice(7), slice(14, None), np.array([19, 0])):
        assert_same(stored.rows(sound), table.rows(sound))
    with pytest.raises(UserError, match="rows 7 to 13 are damaged"):
        splits([stored], torch.device("cpu"), gpu_share=0.5)


def test_a_file_that_becomes_shorter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "test.arrow"
    write(image_table(20), path)
    table = StoredTable(path)
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match="became shorter"):
        table.rows(slice(None))


_KILLED = """
import os, signal, sys
from pathlib import Path
from image_tables import image_table
from atcore.images.stored import writing
path = Path(sys.argv[1])
with writing(path) as add:
    add(image_table(3000, side=60))
    assert sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file()) > 2**20
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("failed")
"""


@pytest.mark.parametrize("end", ["killed", "failed"])
def test_a_writer_that_does_not_end_leaves_no_table(tmp_path: Path, end: str) -> None:
    path = tmp_path / "test.arrow"
    write(image_table(5), path)
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED, str(path), end],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == (-9 if end == "killed" else 1), ended.stderr
    assert_same(read_table(path), image_table(5))
    write(image_table(6), path)
    assert list(tmp_path.iterdir()) == [path]


# --- memory ---------------------------------------------------------------------------------------

_DRAWING = """
import resource, sys
from pathlib import Path
import numpy as np
from atcore.images.stored import StoredTable
table = StoredTable(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rng = np.random.default_rng(0)
for _ in range(40):
    table.images[rng.permutation(len(table))[:64]]
for part in table.verified():
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10)
"""


def test_who_reads_a_table_holds_no_more_than_it_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    path = tmp_path / "large.arrow"
    some = image_table(100, side=128)
    with writing(path) as add:
        for _ in range(40):
            add(some)
    assert path.stat().st_size > 180 * 2**20
    grown = subprocess.run(
        [sys.executable, "-c", _DRAWING, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert int(grown) < 40 * 2**20


# --- files that are no image tables -------------------------------------------------------------


def metadata(**content: Any) -> dict[bytes, bytes]:
    return {b"atcnn": json.dumps(content).encode()}


def columns(**changes: pa.Array | None) -> pa.Table:
    """A good table of 6 rows with some of its columns replaced or left out."""
    pixels = pa.array(np.zeros(6 * 4 * 4 * 3, dtype=np.uint8))
    storage = pa.FixedSizeListArray.from_arrays(pixels, 48)
    tensor = pa.fixed_shape_tensor(pa.uint8(), (4, 4, 3))
    good: dict[str, pa.Array | None] = {
        "id": pa.array(range(6), pa.int64()),
        "image": pa.ExtensionArray.from_storage(tensor, storage),
        "label": pa.array([0, 1, 2] * 2, pa.int32()),
    }
    chosen = {name: value for name, value in (good | changes).items() if value is not None}
    return pa.table(chosen).replace_schema_metadata(metadata(classes=["a", "b", "c"], origin={}))


def tensors(shape: tuple[int, ...], kind: pa.DataType) -> pa.Array:
    size = int(np.prod(shape))
    values = pa.array(np.zeros(6 * size), pa.float64()).cast(kind)
    storage = pa.FixedSizeListArray.from_arrays(values, size)
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(kind, shape), storage)


def image_with_null() -> pa.Array:
    storage = pa.array([[0] * 48, None, *[[0] * 48] * 4], pa.list_(pa.uint8(), 48))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.uint8(), (4, 4, 3)), storage)


def int32(*values: int | None) -> pa.Array:
    return pa.array(values, pa.int32())


WRONG: dict[str, tuple[Callable[[], pa.Table], list[str]]] = {
    "no id": (lambda: columns(id=None), ["no column id of type int64"]),
    "id of another type": (
        lambda: columns(id=int32(*range(6))),
        ["no column id of type int64"],
    ),
    "no label": (lambda: columns(label=None), ["no column label of type int32"]),
    "label of another type": (
        lambda: columns(label=pa.array(["a"] * 6)),
        ["no column label of type int32"],
    ),
    "no image": (lambda: columns(image=None), ["no column image"]),
    "image without a shape": (
        lambda: columns(image=pa.array([b"jpeg"] * 6)),
        ["column image is binary"],
    ),
    "image of another type": (
        lambda: columns(image=tensors((4, 4, 3), pa.float32())),
        ["images are float", "not uint8 H x W x 3"],
    ),
    "grey image": (lambda: columns(image=tensors((4, 4), pa.uint8())), ["images are", "(4, 4)"]),
    "channels first": (
        lambda: columns(image=tensors((3, 4, 4), pa.uint8())),
        ["images are", "(3, 4, 4)"],
    ),
    "null id": (
        lambda: columns(id=pa.array([0, 1, 2, None, 4, 5], pa.int64())),
        ["row 3: id is null"],
    ),
    "null image": (lambda: columns(image=image_with_null()), ["row 1: image is null"]),
    "null label": (lambda: columns(label=int32(0, 1, 2, 0, 1, None)), ["row 5: label is null"]),
    "negative label": (
        lambda: columns(label=int32(0, 1, 2, 0, -1, -2)),
        ["row 4: label -1 is not in 0..2"],
    ),
    "label too large": (
        lambda: columns(label=int32(0, 1, 3, 0, 1, 2)),
        ["row 2: label 3 is not in 0..2"],
    ),
    "texture label too large": (
        lambda: columns(texture_label=int32(7, 0, 0, 0, 0, 0)),
        ["row 0: texture_label 7 is not in 0..2"],
    ),
    "null texture label": (
        lambda: columns(texture_label=int32(0, None, 0, 0, 0, 0)),
        ["row 1: texture_label is null"],
    ),
    "texture label of another type": (
        lambda: columns(texture_label=pa.array(["a"] * 6)),
        ["texture_label", "int32"],
    ),
    "no metadata": (
        lambda: columns().replace_schema_metadata(None),
        ["no class names in the schema's metadata"],
    ),
    "metadata of another program": (
        lambda: columns().replace_schema_metadata({b"pandas": b"{}"}),
        ["no class names in the schema's metadata"],
    ),
    "metadata that are no JSON": (
        lambda: columns().replace_schema_metadata({b"atcnn": b"{classes"}),
        ["metadata"],
    ),
    "metadata that are no mapping": (
        lambda: columns().replace_schema_metadata({b"atcnn": b"[]"}),
        ["metadata"],
    ),
    "metadata without an origin": (
        lambda: columns().replace_schema_metadata(metadata(classes=["a", "b", "c"])),
        ["origin", "metadata"],
    ),
}


# Of the batch of a good table; pixels are not held against it when a table is opened.
GOOD = {"sha256": "0", "rows": "6"}


def save(
    table: pa.Table,
    path: Path,
    *,
    rows: int | None = None,
    metadata: Mapping[str, str] = GOOD,
    **options: Any,
) -> None:
    """Write batches of so many rows, each of them with this metadata."""
    with pa.ipc.new_file(str(path), table.schema, **options) as file:
        for batch in table.to_batches(rows):
            file.write_batch(batch, metadata)


def test_the_table_that_the_wrong_ones_are_made_from_is_good(tmp_path: Path) -> None:
    save(columns(), tmp_path / "good.arrow")
    assert len(StoredTable(tmp_path / "good.arrow")) == 6


@pytest.mark.parametrize(("build", "parts"), WRONG.values(), ids=WRONG.keys())
def test_wrong_content_is_refused_naming_file_and_place(
    tmp_path: Path, build: Callable[[], pa.Table], parts: list[str]
) -> None:
    path = tmp_path / "wrong.arrow"
    save(build(), path)
    assert_refused(StoredTable, path, *parts)


def test_rows_are_counted_over_batches(tmp_path: Path) -> None:
    path = tmp_path / "wrong.arrow"
    save(columns(label=int32(0, 1, 2, 0, 1, None)), path, rows=2)
    assert_refused(StoredTable, path, "row 5: label is null")
    save(columns(label=int32(0, 1, 2, 0, 1, 9)), path, rows=2)
    assert_refused(StoredTable, path, "row 5: label 9 is not in 0..2")


def test_a_batch_without_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.arrow"
    save(columns(), path, metadata={"rows": "6"})
    assert_refused(StoredTable, path, "row 0: no checksum in the metadata of its batch")


@pytest.mark.parametrize("said", [{}, {"rows": "7"}, {"rows": "six"}])
def test_a_table_without_some_of_its_rows_is_refused(tmp_path: Path, said: dict[str, str]) -> None:
    path = tmp_path / "wrong.arrow"
    save(columns(), path, metadata={"sha256": "0", **said})
    assert_refused(StoredTable, path, "some of its rows are missing")


def test_compressed_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.arrow"
    save(columns(), path, options=pa.ipc.IpcWriteOptions(compression="lz4"))
    assert_refused(StoredTable, path, "row 0: its pixels are compressed")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.arrow"
    write(image_table(8), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert_refused(StoredTable, path, "not a readable Arrow file", "run the stage again that wrote")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.arrow"
    path.write_text("id,label\n1,2\n")
    assert_refused(StoredTable, path, "not a readable Arrow file")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(StoredTable, tmp_path / "missing.arrow")
