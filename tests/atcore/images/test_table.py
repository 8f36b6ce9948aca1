"""The image table: exact round trips, equal bytes, and errors that name the file and the row."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import assert_refused
from sameness import assert_same_arrays

from atcore.images import table as tables
from atcore.images.table import ImageTable, concatenate


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


@pytest.mark.parametrize("textures", [False, True], ids=["no textures", "textures"])
@pytest.mark.parametrize("count", [1, 7, 4096, 5000])
def test_what_is_written_is_read(tmp_path: Path, count: int, textures: bool) -> None:
    table = image_table(count, textures=textures, side=2)
    path = tmp_path / "deep" / "test.parquet"
    tables.write(table, path)
    assert_same(tables.read(path), table)


def test_a_table_without_rows_is_read_as_one(tmp_path: Path) -> None:
    empty = image_table(3, textures=True).rows(slice(0, 0))
    tables.write(empty, tmp_path / "empty.parquet")
    assert_same(tables.read(tmp_path / "empty.parquet"), empty)


def test_a_view_of_some_rows_is_written_as_it_looks(tmp_path: Path) -> None:
    table = image_table(20, textures=True)
    part = table.rows(slice(3, 17, 2))
    tables.write(part, tmp_path / "part.parquet")
    assert_same(tables.read(tmp_path / "part.parquet"), part)


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    tables.write(image_table(50, textures=True), first)
    tables.write(tables.read(first), second)
    assert first.read_bytes() == second.read_bytes()
    other = image_table(50, textures=True)
    reordered = replace(other, origin=dict(reversed(other.origin.items())))
    tables.write(reordered, second)
    assert first.read_bytes() == second.read_bytes()


def test_any_changed_pixel_changes_the_bytes(tmp_path: Path) -> None:
    table = image_table(3)
    tables.write(table, tmp_path / "a.parquet")
    table.images[2, 0, 0, 0] ^= 1
    tables.write(table, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() != (tmp_path / "b.parquet").read_bytes()


def test_a_folder_that_looks_like_a_partition_does_not_add_columns(tmp_path: Path) -> None:
    path = tmp_path / "label=1" / "seed=2" / "test.parquet"
    tables.write(image_table(4), path)
    assert_same(tables.read(path), image_table(4))


@given(count=st.integers(1, 40), size=st.integers(1, 50))
def test_shards_put_together_are_the_table(count: int, size: int) -> None:
    table = image_table(count, textures=True)
    shards = table.shards(size)
    assert [len(shard) for shard in shards[:-1]] == [size] * (len(shards) - 1)
    assert 1 <= len(shards[-1]) <= size
    assert_same(concatenate(shards), table)


def test_shards_without_textures_put_together_have_none() -> None:
    table = image_table(5)
    assert_same(concatenate(table.shards(2)), table)


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


def test_the_table_that_the_wrong_ones_are_made_from_is_good(tmp_path: Path) -> None:
    pq.write_table(columns(), tmp_path / "good.parquet")
    assert len(tables.read(tmp_path / "good.parquet")) == 6


@pytest.mark.parametrize(("build", "parts"), WRONG.values(), ids=WRONG.keys())
def test_wrong_content_is_refused_naming_file_and_place(
    tmp_path: Path, build: Callable[[], pa.Table], parts: list[str]
) -> None:
    path = tmp_path / "wrong.parquet"
    pq.write_table(build(), path)
    assert_refused(tables.read, path, *parts)


def test_row_is_counted_over_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "wrong.parquet"
    labels = int32(0, 1, 2, 0, 1, None)
    pq.write_table(columns(label=labels), path, row_group_size=2)
    assert_refused(tables.read, path, "row 5: label is null")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.parquet"
    tables.write(image_table(8), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert_refused(tables.read, path, "not a readable Parquet file")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.parquet"
    path.write_text("id,label\n1,2\n")
    assert_refused(tables.read, path, "not a readable Parquet file")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tables.read, tmp_path / "missing.parquet")
