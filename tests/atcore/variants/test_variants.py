"""Variants of the test images: golden values, and what each one destroys and keeps."""

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from atcore_samples import (
    shapes_table,
    split_of,
    train_to_end,
    training_spec,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from atcore.base.errors import UserError
from atcore.base.rng import numpy_rng
from atcore.images import shapes
from atcore.images.table import ImageTable, concatenate
from atcore.quality.probe import independent
from atcore.stylizing.styles import crop
from atcore.stylizing.styles import pictures as pictures_of
from atcore.variants import edges
from atcore.variants.filtered import transfer
from atcore.variants.fourier import low_frequencies
from atcore.variants.kinds import KINDS, vary
from atcore.variants.patch_shuffled import permutation, shuffle
from atcore.variants.saturated import lookup
from atcore.variants.styling import Styling

SHAPES = shapes_table(40)
LEVELS = {
    "stylized": 0.6,
    "saturated": 8,
    "patch_shuffled": 4,
    "cue_conflict": 0.6,
    "brightness": 0.5,
    "edges": 1,
    "low_pass": 4,
    "high_pass": 4,
}
RANDOM = {"stylized", "patch_shuffled", "cue_conflict"}


def photographs(count: int, side: int = 16, seed: int = 0) -> ImageTable:
    """Images that no generator can redraw, with ids that are no positions."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3))
    images = coarse.repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    images = (images + rng.integers(-20, 21, images.shape)).clip(0, 255).astype(np.uint8)
    ids = (1000 + 7 * rng.permutation(count)).astype(np.int64)
    labels = rng.integers(0, 3, count).astype(np.int32)
    return ImageTable(ids, images, labels, ("a", "b", "c"), origin={"generator": "folder"})


PHOTOGRAPHS = photographs(30)
CASES = {
    **{f"{kind} of shapes": (kind, SHAPES) for kind in KINDS},
    **{f"{kind} of photographs": (kind, PHOTOGRAPHS) for kind in KINDS},
}


def assert_equal_tables(found: ImageTable, expected: ImageTable) -> None:
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.labels, expected.labels)
    assert found.images.tobytes() == expected.images.tobytes()
    assert (found.texture_labels is None) == (expected.texture_labels is None)
    if found.texture_labels is not None:
        assert np.array_equal(found.texture_labels, expected.texture_labels)


# --- all kinds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "table"), CASES.values(), ids=CASES.keys())
def test_variant_keeps_rows_labels_and_form(kind: str, table: ImageTable) -> None:
    before = table.images.copy()
    result = vary(kind, table, LEVELS[kind], table, 0)
    assert np.array_equal(table.images, before)
    assert np.array_equal(result.ids, table.ids)
    assert np.array_equal(result.labels, table.labels)
    assert result.labels.dtype == np.int32
    assert result.classes == table.classes
    assert result.origin == table.origin
    assert result.images.shape == table.images.shape
    assert result.images.dtype == np.uint8
    changed = (result.images != table.images).any(axis=(1, 2, 3))
    assert changed.all()


@pytest.mark.parametrize(("kind", "table"), CASES.values(), ids=CASES.keys())
@settings(max_examples=8)
@given(size=st.integers(1, 41), seed=st.integers(0, 5))
def test_shards_of_any_size_give_the_images_of_the_whole(
    kind: str, table: ImageTable, size: int, seed: int
) -> None:
    apply, level = partial(vary, kind), LEVELS[kind]
    whole = apply(table, level, table, seed)
    parts = [apply(shard, level, table, seed) for shard in table.shards(size)]
    assert_equal_tables(concatenate(parts), whole)


@pytest.mark.parametrize(("kind", "table"), CASES.values(), ids=CASES.keys())
def test_order_of_the_rows_does_not_matter(kind: str, table: ImageTable) -> None:
    order = np.random.default_rng(0).permutation(len(table))
    apply, level = partial(vary, kind), LEVELS[kind]
    shuffled = apply(table.rows(order), level, table, 3)
    assert_equal_tables(shuffled, apply(table, level, table, 3).rows(order))


@pytest.mark.parametrize(("kind", "table"), CASES.values(), ids=CASES.keys())
def test_seed_decides_what_is_random_and_nothing_else(kind: str, table: ImageTable) -> None:
    apply, level = partial(vary, kind), LEVELS[kind]
    first = apply(table, level, table, 0)
    assert_equal_tables(apply(table, level, table, 0), first)
    differs = (apply(table, level, table, 1).images != first.images).any(axis=(1, 2, 3))
    if kind in RANDOM:
        assert differs.mean() > 0.5
    else:
        assert not differs.any()


# --- saturated ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        # pixel 64: |2v - 1| = 127/255 = 0.498; its square is 0.248, its root 0.706, and so on.
        pytest.param(1, {0: 0, 64: 96, 127: 127, 128: 128, 191: 159, 255: 255}, id="1"),
        pytest.param(2, {0: 0, 64: 64, 127: 127, 128: 128, 191: 191, 255: 255}, id="2"),
        pytest.param(4, {0: 0, 64: 38, 127: 120, 128: 135, 191: 217, 255: 255}, id="4"),
        pytest.param(64, {0: 0, 64: 3, 127: 20, 128: 235, 191: 252, 255: 255}, id="64"),
        pytest.param(1024, {0: 0, 64: 0, 127: 1, 128: 254, 191: 255, 255: 255}, id="1024"),
    ],
)
def test_saturation_by_hand(p: float, expected: dict[int, int]) -> None:
    image = np.array([*expected], dtype=np.uint8).repeat(3).reshape(1, 1, -1, 3)
    one = replace(SHAPES.rows(slice(0, 1)), images=image)
    result = vary("saturated", one, p, one, 0)
    assert result.images[0, 0, :, 0].tolist() == [*expected.values()]


def test_saturation_of_two_is_the_identity() -> None:
    assert lookup(2).tolist() == list(range(256))


@given(p=st.floats(0.01, 1e6))
def test_saturation_is_monotone_and_symmetric(p: float) -> None:
    values = lookup(p).astype(int)
    assert (np.diff(values) >= 0).all()
    assert values[0] == 0
    assert values[255] == 255
    # Mirrored about the middle; a value half way between two integers may round either way.
    assert np.abs(values + values[::-1] - 255).max() <= 1


@given(p=st.floats(0.01, 1e6), factor=st.floats(1, 100))
def test_more_saturation_moves_pixels_away_from_the_middle(p: float, factor: float) -> None:
    less, more = lookup(p).astype(int), lookup(p * factor).astype(int)
    assert (more[:128] <= less[:128]).all()
    assert (more[128:] >= less[128:]).all()


# --- patch_shuffled -----------------------------------------------------------------------------


def numbered(height: int, width: int) -> NDArray[np.uint8]:
    """An image whose pixels all differ: their numbers, row by row."""
    numbers = np.arange(height * width, dtype=np.uint8).reshape(height, width, 1)
    return numbers.repeat(3, axis=2)


def test_shuffle_by_hand() -> None:
    # Places 0 1 / 2 3 get patches 2 0 / 3 1.
    result = shuffle(numbered(4, 4), 2, np.array([2, 0, 3, 1]))
    expected = [[8, 9, 0, 1], [12, 13, 4, 5], [10, 11, 2, 3], [14, 15, 6, 7]]
    for channel in range(3):
        assert result[:, :, channel].tolist() == expected


def test_shuffle_leaves_the_rim_where_the_side_is_not_divisible() -> None:
    # 5 px, k = 2: patches of 2 px from the top left corner, the last row and column are the rim.
    result = shuffle(numbered(5, 5), 2, np.array([3, 2, 1, 0]))[:, :, 0]
    assert result.tolist() == [
        [12, 13, 10, 11, 4],
        [17, 18, 15, 16, 9],
        [2, 3, 0, 1, 14],
        [7, 8, 5, 6, 19],
        [20, 21, 22, 23, 24],
    ]


@pytest.mark.parametrize(
    ("side", "k", "rim"), [(7, 4, (1, 5)), (11, 4, (1, 9)), (15, 8, (3, 11)), (9, 2, (0, 8))]
)
def test_rim_is_centred_and_untouched(side: int, k: int, rim: tuple[int, int]) -> None:
    image = numbered(side, side)
    result = shuffle(image, k, np.arange(k * k)[::-1])
    outside = np.ones((side, side), dtype=bool)
    outside[rim[0] : rim[1], rim[0] : rim[1]] = False
    assert np.array_equal(result[outside], image[outside])
    assert (result != image)[~outside].any(axis=-1).mean() > 0.5


def test_shuffle_takes_images_that_are_not_square() -> None:
    result = shuffle(numbered(2, 4), 2, np.array([1, 0, 3, 2]))[:, :, 0]
    assert result.tolist() == [[2, 3, 0, 1], [6, 7, 4, 5]]


def patches(image: NDArray[np.uint8], k: int) -> list[bytes]:
    rows = np.split(image, k, axis=0)
    return [patch.tobytes() for row in rows for patch in np.split(row, k, axis=1)]


@pytest.mark.parametrize("k", [2, 4, 8, 16])
def test_every_image_keeps_its_patches_and_loses_their_order(k: int) -> None:
    result = vary("patch_shuffled", PHOTOGRAPHS, k, PHOTOGRAPHS, 0)
    for before, after in zip(PHOTOGRAPHS.images, result.images, strict=True):
        assert Counter(patches(after, k)) == Counter(patches(before, k))
        assert patches(after, k) != patches(before, k)


@pytest.mark.parametrize("count", [2, 4, 16])
def test_permutations_are_all_but_the_identity(count: int) -> None:
    drawn = [permutation(np.random.default_rng(seed), count).tolist() for seed in range(300)]
    assert all(sorted(order) == list(range(count)) for order in drawn)
    assert list(range(count)) not in drawn
    assert len({tuple(order) for order in drawn}) == {2: 1, 4: 23, 16: 300}[count]


def test_images_of_one_table_are_shuffled_differently() -> None:
    same = replace(PHOTOGRAPHS, images=np.stack([numbered(16, 16)] * len(PHOTOGRAPHS)))
    result = vary("patch_shuffled", same, 4, same, 0)
    assert len({image.tobytes() for image in result.images}) == len(same)


def test_more_patches_than_pixels_are_refused() -> None:
    with pytest.raises(UserError, match=r"^level k = 17 .* 16 px; give k <= 16$"):
        vary("patch_shuffled", PHOTOGRAPHS, 17, PHOTOGRAPHS, 0)


# --- brightness, edges, low_pass, high_pass -------------------------------------------------------


def grey_table(*images: list[list[int]] | NDArray[Any]) -> ImageTable:
    """A table of grey images."""
    pixels = np.array(images, dtype=np.uint8)[..., None].repeat(3, axis=-1)
    return replace(PHOTOGRAPHS.rows(slice(0, len(images))), images=pixels)


def only_channel(kind: str, level: float, image: list[list[int]] | NDArray[Any]) -> list[list[int]]:
    """What a variant makes of a grey image, which has to stay grey."""
    table = grey_table(image)
    result = vary(kind, table, level, table, 0).images[0]
    assert (result == result[..., :1]).all()
    return result[..., 0].tolist()


noise = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (9, 12), dtype=np.uint8)
)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        pytest.param(0.25, [0, 0, 1, 25, 50, 64], id="0.25"),
        pytest.param(1, [0, 1, 3, 100, 200, 255], id="1"),
        pytest.param(2, [0, 2, 6, 200, 255, 255], id="2"),
        pytest.param(1e9, [0, 255, 255, 255, 255, 255], id="1e9"),
    ],
)
def test_brightness_by_hand(factor: float, expected: list[int]) -> None:
    assert only_channel("brightness", factor, [[0, 1, 3, 100, 200, 255]]) == [expected]


@given(image=noise, factor=st.floats(0.01, 100))
def test_brightness_keeps_the_order_of_pixels(image: NDArray[np.uint8], factor: float) -> None:
    result = np.array(only_channel("brightness", factor, image)).ravel()
    order = image.ravel().argsort()
    assert (np.diff(result[order]) >= 0).all()
    assert (result >= image.ravel()).all() if factor >= 1 else (result <= image.ravel()).all()


@pytest.mark.parametrize("height", [1, 50, 255])
def test_edges_of_a_step_are_its_two_sides_whatever_its_height(height: int) -> None:
    step = [[0, 0, 0, height, height, height]] * 4
    assert only_channel("edges", 0, step) == [[255, 255, 0, 0, 255, 255]] * 4


def test_edges_of_a_dot_by_hand() -> None:
    # Sobel beside the dot gives 2 h, at its corners the length of (h, h): 255 (1 - 0.707) = 75.
    dot = np.zeros((5, 5), np.uint8)
    dot[2, 2] = 100
    assert only_channel("edges", 0, dot) == [
        [255, 255, 255, 255, 255],
        [255, 75, 0, 75, 255],
        [255, 0, 255, 0, 255],
        [255, 75, 0, 75, 255],
        [255, 255, 255, 255, 255],
    ]


def test_edges_of_colours_by_hand() -> None:
    # Mean squares of the steps in thirds of 255 squared: green 1, red and blue 2, all of them 3.
    row = np.zeros((1, 1, 16, 3), np.uint8)
    row[..., 4:12, 1] = 255
    row[..., 8:12, [0, 2]] = 255
    lines = edges.draw(row.repeat(3, axis=1), 0)[0, 1, :, 0]
    expected = np.full(16, 255)
    expected[[3, 4]] = 108  # 255 (1 - sqrt(1 / 3))
    expected[[7, 8]] = 47  # 255 (1 - sqrt(2 / 3))
    expected[[11, 12]] = 0
    assert lines.tolist() == expected.tolist()


def test_a_figure_as_bright_as_its_ground_keeps_its_outline() -> None:
    # 0.587 * 60 in green is 0.299 * 118 in red: a luminance of 35 on both sides.
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[:, :, :4, 1] = 60
    image[:, :, 4:, 0] = 118
    assert edges.draw(image, 0)[0, 0, :, 0].tolist() == [255, 255, 255, 0, 0, 255, 255, 255]


@given(value=st.integers(0, 255), sigma=st.sampled_from([0, 1e-300, 0.3, 1, 2.5, 8]))
def test_a_flat_image_has_no_edges(value: int, sigma: float) -> None:
    assert only_channel("edges", sigma, np.full((8, 9), value)) == [[255] * 9] * 8


@given(image=noise, sigma=st.floats(0, 3))
def test_edges_are_those_of_the_negative(image: NDArray[np.uint8], sigma: float) -> None:
    own = np.array(only_channel("edges", sigma, image))
    negative = np.array(only_channel("edges", sigma, 255 - image))
    assert own.min() == 0
    assert np.abs(own - negative).max() <= 1


def test_blur_before_the_edges_removes_fine_texture() -> None:
    # A checkerboard of 1 px under a step: without blur its lines cover the whole image.
    board = np.indices((32, 32)).sum(0) % 2 * 20 + (np.arange(32) >= 16) * 60 + 50
    lines = np.array(only_channel("edges", 2, board))
    assert (lines[:, :8] > 250).all()
    assert (lines[:, 15:17] < 5).all()


def test_a_blur_wider_than_the_image_is_refused() -> None:
    vary("edges", PHOTOGRAPHS, 16, PHOTOGRAPHS, 0)
    with pytest.raises(UserError, match=r"^level sigma = 16.5 .* 16 px; give sigma <= 16$"):
        vary("edges", PHOTOGRAPHS, 16.5, PHOTOGRAPHS, 0)


def wave(down: int, across: int) -> NDArray[np.int64]:
    """128 + 100 cos of that many cycles over 8 x 8 px; its values are whole numbers."""
    y, x = np.indices((8, 8))
    return np.rint(128 + 100 * np.cos(2 * np.pi * (down * y + across * x) / 8)).astype(int)


FLAT = np.full((8, 8), 128)


@pytest.mark.parametrize(
    ("image", "below", "at"),
    [
        pytest.param(wave(0, 2), 1.99, 2, id="across"),
        pytest.param(wave(2, 0), 1.99, 2, id="down"),
        pytest.param(wave(2, 2), 2.82, 2.83, id="diagonal"),  # sqrt(8) = 2.828
        pytest.param(wave(-2, 2), 2.82, 2.83, id="other diagonal"),
        pytest.param(wave(0, 4), 3.99, 4, id="Nyquist"),
        pytest.param(wave(4, 4), 5.65, 5.656854249492381, id="corner"),
    ],
)
def test_a_wave_is_kept_or_removed_exactly(
    image: NDArray[np.int64], below: float, at: float
) -> None:
    assert only_channel("low_pass", below, image) == FLAT.tolist()
    assert only_channel("low_pass", at, image) == image.tolist()
    assert only_channel("high_pass", below, image) == image.tolist()
    assert only_channel("high_pass", at, image) == FLAT.tolist()


# Of some sides a frequency that is computed by division lies beside its whole number.
@pytest.mark.parametrize("side", [49, 98, 103, 196, 224])
@pytest.mark.parametrize("across", [False, True])
def test_a_wave_at_the_level_is_kept_whatever_the_side(side: int, *, across: bool) -> None:
    line = 128 + 100 * np.cos(2 * np.pi * 4 * np.arange(side) / side)
    wide = np.broadcast_to(line[:, None], (side, side))
    image = np.rint((wide.T if across else wide)[..., None].repeat(3, 2)).astype(np.uint8)
    assert low_frequencies(image, 4).std() == pytest.approx(image.std(), rel=0.01)
    assert low_frequencies(image, 3.99).std() == pytest.approx(0, abs=0.5)


def test_a_sum_of_waves_is_taken_apart() -> None:
    coarse, fine = (wave(0, 2) - 128) // 2, (wave(4, 0) - 128) // 2
    assert only_channel("low_pass", 3, 128 + coarse + fine) == (128 + coarse).tolist()
    assert only_channel("high_pass", 3, 128 + coarse + fine) == (128 + fine).tolist()


def test_channels_are_filtered_each_for_itself() -> None:
    image = np.stack([wave(0, 2), wave(4, 0), FLAT], axis=-1).astype(np.uint8)
    table = replace(PHOTOGRAPHS.rows(slice(0, 1)), images=image[None])
    result = vary("low_pass", table, 3, table, 0).images[0]
    assert result.tolist() == np.stack([wave(0, 2), FLAT, FLAT], axis=-1).tolist()


@given(image=noise, radius=st.floats(0.1, 7.2))
def test_low_and_high_frequencies_make_up_the_image(
    image: NDArray[np.uint8], radius: float
) -> None:
    # Low contrast, so that nothing is clamped; each part is rounded once.
    quiet = 100 + image // 8
    low = np.array(only_channel("low_pass", radius, quiet))
    high = np.array(only_channel("high_pass", radius, quiet))
    assert np.abs(low + high - 128 - quiet).max() <= 1


@given(image=noise)
def test_all_frequencies_are_the_image_and_none_its_mean(image: NDArray[np.uint8]) -> None:
    corner = np.hypot(4, 6)
    assert only_channel("low_pass", corner, image) == image.tolist()
    assert np.abs(np.array(only_channel("low_pass", 0.5, image)) - image.mean()).max() <= 0.5001


@pytest.mark.parametrize("kind", ["low_pass", "high_pass"])
@pytest.mark.parametrize(("side", "allowed"), [(15, "9.8"), (16, "11.3"), (32, "22.6")])
def test_a_radius_beyond_the_corner_is_refused(kind: str, side: int, allowed: str) -> None:
    table = grey_table(np.zeros((side, side)))
    vary(kind, table, float(allowed), table, 0)
    level = float(allowed) + 0.1
    expected = (
        f"level {level:g} is not allowed for images of {side} x {side} px; "
        f"give a radius of at most {allowed} cycles per image"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        vary(kind, table, level, table, 0)


# --- cue_conflict -------------------------------------------------------------------------------


def test_cue_conflict_on_shapes_is_the_same_image_drawn_with_another_texture() -> None:
    table = shapes_table(400, start=4000, seed=3)
    result = vary("cue_conflict", table, 0.6, table, 0)
    assert result.texture_labels is not None
    assert result.texture_labels.dtype == np.int32
    offsets: Counter[int] = Counter()
    for image_id, label, texture, image in zip(
        table.ids.tolist(),
        table.labels.tolist(),
        result.texture_labels.tolist(),
        result.images,
        strict=True,
    ):
        assert texture != label
        drawn = shapes.render(3, image_id, label, texture)
        assert np.array_equal(image, drawn.pixels)
        assert np.array_equal(drawn.inside, shapes.render(3, image_id, label, label).inside)
        offsets[(texture - label) % 8] += 1
    assert np.abs(result.images.astype(int) - table.images).max() <= 17
    # All other classes, about equally often: 57 each, standard deviation 7.
    assert set(offsets) == set(range(1, 8))
    assert min(offsets.values()) > 30


def test_cue_conflict_on_other_images_takes_the_texture_of_another_class() -> None:
    pool = photographs(60, seed=1)
    table = pool.rows(slice(0, 20))
    result = vary("cue_conflict", table, 0.6, pool, 0)
    assert result.texture_labels is not None
    assert result.texture_labels.dtype == np.int32
    assert (result.texture_labels != table.labels).all()
    assert set(result.texture_labels.tolist()) == {0, 1, 2}
    for image, content, label in zip(
        result.images, table.images, result.texture_labels, strict=True
    ):
        # One image of the named class, and of the pool, gives exactly this picture.
        sources = pool.images[pool.labels == label]
        candidates = transfer(np.stack([content] * len(sources)), sources, 0.6)
        assert (candidates == image).all(axis=(1, 2, 3)).any()


def test_cue_conflict_needs_two_classes() -> None:
    alone = PHOTOGRAPHS.rows(np.flatnonzero(PHOTOGRAPHS.labels == 0))
    with pytest.raises(UserError, match="it needs at least 2"):
        vary("cue_conflict", alone, 0.6, alone, 0)


# --- stylized -----------------------------------------------------------------------------------


def test_transfer_gives_the_mean_and_the_spread_of_the_style() -> None:
    rng = np.random.default_rng(0)
    content = shapes_table(20).images
    style = np.rint(
        (
            0.5
            + rng.uniform(-0.1, 0.1, (20, 1, 1, 3))
            + 0.22 * rng.standard_normal((20, 32, 32, 3))
        ).clip(0, 1)
        * 255
    ).astype(np.uint8)
    result = transfer(content, style, 0.0).astype(float)
    difference = result.mean(axis=(1, 2)) - style.mean(axis=(1, 2))
    assert np.abs(difference).mean() < 6  # clipping moves some of them a little
    assert result.std(axis=(1, 2)).mean() == pytest.approx(style.std(axis=(1, 2)).mean(), rel=0.1)


def test_strength_adds_fine_structure_and_zero_adds_none() -> None:
    def roughness(strength: float) -> float:
        images = vary("stylized", SHAPES, strength, SHAPES, 0).images.astype(float)
        return float(np.abs(np.diff(images, axis=2)).mean())

    assert roughness(0.0) < 0.7 * roughness(0.3) < 0.9 * roughness(0.6)


def coarse_edges(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Gradient magnitude (over the channels) of images averaged over 5 x 5 pixels, one row each."""
    windows = np.lib.stride_tricks.sliding_window_view(images.astype(float), (5, 5), axis=(1, 2))
    smooth = windows.mean(axis=(-2, -1))
    down, across = np.diff(smooth, axis=1)[:, :, :-1], np.diff(smooth, axis=2)[:, :-1]
    return np.sqrt(np.square(down).sum(-1) + np.square(across).sum(-1)).reshape(len(images), -1)


def mean_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]))


@pytest.fixture(scope="module")
def pictures() -> tuple[ImageTable, ImageTable]:
    """Images of independent shape and texture, and the same ones stylized."""
    table = independent(np.arange(2500), 0)
    return table, vary("stylized", table, 0.6, table, 0)


def test_stylized_images_keep_their_edges(pictures: tuple[ImageTable, ImageTable]) -> None:
    original, stylized = (coarse_edges(table.images[:300]) for table in pictures)
    assert mean_correlation(original, stylized) > 0.8
    assert mean_correlation(original, np.roll(stylized, 8, axis=0)) < 0.5


def probe(table: ImageTable, labels: NDArray[np.int32] | None) -> float:
    """Accuracy, on 500 other images, of a network trained to read the labels of 2,000."""
    assert labels is not None
    training = split_of(table.rows(slice(0, 2000)), labels[:2000])
    held_out = split_of(table.rows(slice(2000, 2500)), labels[2000:])
    spec = training_spec(epochs=6, learning_rate=0.02)
    return train_to_end(spec, training, held_out).history[-1].validation_accuracy


@pytest.mark.long
def test_a_retrained_probe_finds_shape_but_no_texture_in_stylized_images(
    pictures: tuple[ImageTable, ImageTable],
) -> None:
    original, stylized = pictures
    # 500 answers at chance: mean 1/8, standard deviation 0.0148.
    margin = 3.5 * (1 / 8 * 7 / 8 / 500) ** 0.5
    assert probe(original, original.texture_labels) > 0.9
    assert probe(stylized, original.texture_labels) == pytest.approx(1 / 8, abs=margin)
    assert probe(stylized, original.labels) > 0.7


def test_stylizing_scales_with_the_image() -> None:
    # Twice the side, twice the lengths: about the picture that enlarging the small one gives.
    def doubled(images: NDArray[Any]) -> NDArray[Any]:
        return images.repeat(2, axis=1).repeat(2, axis=2)

    content = SHAPES.images[:8]
    style = np.full_like(content, 128)
    small, large = transfer(content, style, 0.0), transfer(doubled(content), doubled(style), 0.0)
    difference = np.abs(doubled(small).astype(int) - large)
    assert difference.mean() < 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of other sizes than the crops: smooth red, a fine pattern, a grey one."""
    rng = np.random.default_rng(0)
    Image.new("RGB", (90, 128), (200, 40, 40)).save(tmp_path / "b.png")
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(0, 256, (80, 64), dtype=np.uint8)).save(tmp_path / "c.tiff")
    (tmp_path / "README.md").write_text("ours")
    (tmp_path / ".hidden").write_text("the system's")
    return tmp_path


def test_pictures_come_in_the_order_of_their_names_four_times_as_large(folder: Path) -> None:
    found = pictures_of(folder, 16)
    assert found.shape == (3, 64, 64, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found[0], np.asarray(Image.open(folder / "a.png")))
    assert (found[1] == (200, 40, 40)).all()
    assert (found[2] == found[2][..., :1]).all()


def test_every_style_is_a_crop_of_a_picture(folder: Path) -> None:
    styles = pictures_of(folder, 16)
    windows = np.lib.stride_tricks.sliding_window_view(styles, (16, 16), axis=(1, 2))
    crops = [crop(np.random.default_rng(seed), styles, 16) for seed in range(60)]
    pictures = []
    for image in crops:
        found = (windows == image.transpose(2, 0, 1)).all(axis=(3, 4, 5))
        assert found.any()
        pictures.append(int(found.nonzero()[0][0]))
    assert set(pictures) == {0, 1, 2}
    assert len({image.tobytes() for image in crops}) > 30


def test_a_crop_reaches_every_pixel() -> None:
    picture = numbered(4, 4)[None]
    corners = {int(crop(np.random.default_rng(seed), picture, 2)[0, 0, 0]) for seed in range(200)}
    assert corners == {0, 1, 2, 4, 5, 6, 8, 9, 10}


def test_pictures_give_the_images_their_texture_in_any_shards(folder: Path) -> None:
    styles = pictures_of(folder, 16)
    apply = partial(vary, "stylized")
    styling = Styling(pictures=styles)
    whole = apply(PHOTOGRAPHS, 0.6, PHOTOGRAPHS, 0, styling)
    for position, image_id in enumerate(PHOTOGRAPHS.ids.tolist()):
        style = crop(numpy_rng(0, "stylized/style", image_id), styles, 16)
        content = PHOTOGRAPHS.images[position : position + 1]
        assert np.array_equal(whole.images[position], transfer(content, style[None], 0.6)[0])
    parts = [apply(shard, 0.6, PHOTOGRAPHS, 0, styling) for shard in PHOTOGRAPHS.shards(7)]
    assert_equal_tables(concatenate(parts), whole)
    assert (apply(PHOTOGRAPHS, 0.6, PHOTOGRAPHS, 1, styling).images != whole.images).any()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("ours")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"^{re.escape(str(folder))}: no pictures in it; .*$"):
            pictures_of(folder, 16)


def test_what_is_no_picture_is_refused_by_name(folder: Path) -> None:
    (folder / "notes.txt").write_text("no picture")
    with pytest.raises(UserError, match=r"^.*/notes\.txt: not an image$"):
        pictures_of(folder, 16)
    (folder / "notes.txt").unlink()
    (folder / "more").mkdir()
    with pytest.raises(UserError, match=r"^.*/more: Is a directory$"):
        pictures_of(folder, 16)
