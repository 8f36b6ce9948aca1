"""The image table: cut into shards and put together again."""

from hypothesis import given
from hypothesis import strategies as st
from image_tables import assert_same, image_table

from atcore.images.table import at_most, concatenate, slices


@given(count=st.integers(0, 40), size=st.integers(1, 50))
def test_slices_are_all_rows_in_order(count: int, size: int) -> None:
    rows = list(range(count))
    parts = [rows[part] for part in slices(count, size)]
    assert [row for part in parts for row in part] == rows
    assert all(len(part) == size for part in parts[:-1])
    assert all(0 < len(part) <= size for part in parts)


def test_pieces_of_work_hold_fewer_of_larger_images() -> None:
    assert [at_most(500, side) for side in (32, 64, 128, 256)] == [500, 250, 62, 15]
    assert at_most(8, 64) == 8
    assert at_most(8, 10_000) == 1


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
