from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atcore.sources.description import (
    ClassSize,
    Description,
    Remembered,
    Repetition,
    describe,
    digests,
)

CLASSES = ("cat", "dog", "emu")


def remembered(
    labels: list[int],
    contents: list[int],
    sizes: list[tuple[int, int]] | None = None,
    name: str = "",
) -> Remembered:
    """Images that are the same where their contents are."""
    pixels = np.broadcast_to(
        np.array(contents, np.uint8)[:, None, None, None], (len(labels), 4, 4, 3)
    )
    return Remembered(
        names=[f"{name}{i}" for i in range(len(labels))],
        labels=np.array(labels, np.int32),
        sizes=np.array(sizes or [(4, 4)] * len(labels), np.int32),
        digests=digests(pixels, 4),
    )


def described(
    train: Remembered, validation: Remembered, test: Remembered, centre: int = 4
) -> Description:
    splits = {"train": train, "validation": validation, "test": test}
    return describe(
        splits,
        CLASSES,
        image_size=4,
        centre=centre,
        unreadable=["x.jpg"],
        skipped={"a": "bc", "d": ""},
    )


def test_a_dataset_is_described() -> None:
    train = remembered(
        [0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 4, 5], [(9, 9), (3, 9), (6, 2), (8, 8), (4, 4), (5, 7)]
    )
    validation = remembered([0, 1], [6, 7], [(3, 3), (20, 10)])
    test = remembered([2, 2, 1, 0], [8, 9, 10, 11], [(4, 5), (5, 4), (100, 1), (7, 7)])
    nothing = Repetition(0, None)
    assert described(train, validation, test) == Description(
        classes=CLASSES,
        image_size=4,
        counts={"train": 6, "validation": 2, "test": 4},
        smallest_class={
            "train": ClassSize("emu", 1),
            "validation": ClassSize("emu", 0),
            "test": ClassSize("cat", 1),
        },
        largest_class={
            "train": ClassSize("cat", 3),
            "validation": ClassSize("cat", 1),
            "test": ClassSize("emu", 2),
        },
        # Pixels: 9, 12, 16, 20, 20, 27, 35, 49, 64, 81, 100, 200.
        original_sizes={"smallest": (3, 3), "median": (3, 9), "largest": (20, 10)},
        # Those with a side below 4.
        enlarged=4,
        repeated={
            "validation in train": nothing,
            "test in train": nothing,
            "test in validation": nothing,
        },
        contradictory=nothing,
        unreadable=("x.jpg",),
        skipped={"a": 2},
    )


def test_the_same_image_in_two_splits_is_counted_and_one_is_named() -> None:
    train = remembered([0, 1, 2, 2], [0, 1, 2, 2], name="train")
    validation = remembered([0, 1], [5, 1], name="validation")
    test = remembered([2, 0, 1, 2], [2, 9, 1, 2], name="test")
    found = described(train, validation, test)
    assert found.repeated == {
        "validation in train": Repetition(1, ("validation1", "train1")),
        "test in train": Repetition(3, ("test0", "train2")),
        "test in validation": Repetition(1, ("test2", "validation1")),
    }
    assert found.contradictory == Repetition(0, None)


def test_the_same_image_with_different_labels_is_counted_and_two_are_named() -> None:
    train = remembered([0, 1, 0, 2], [0, 1, 2, 3], name="train")
    validation = remembered([1], [7], name="validation")
    # Content 0 is cat, dog and cat: three images; content 3 is emu and cat: two more.
    test = remembered([1, 0, 0, 1], [0, 0, 3, 1], name="test")
    found = described(train, validation, test)
    assert found.contradictory == Repetition(5, ("test0", "train0"))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 6)), max_size=30)
)
def test_repetitions_are_those_of_a_comparison_image_by_image(
    images: list[tuple[str, int, int]],
) -> None:
    images += [(split, 0, 100 + i) for i, split in enumerate("abc")]
    parts = {split: [(label, c) for s, label, c in images if s == split] for split in "abc"}
    found = described(*(remembered(*map(list, zip(*parts[split], strict=True))) for split in "abc"))
    for name, (later, earlier) in zip(found.repeated, ("ba", "ca", "cb"), strict=True):
        seen = {content for _, content in parts[earlier]}
        wanted = sum(content in seen for _, content in parts[later])
        assert found.repeated[name].images == wanted
    labels: dict[int, set[int]] = {}
    for _, label, content in images:
        labels.setdefault(content, set()).add(label)
    wanted = sum(len(labels[content]) > 1 for _, _, content in images)
    assert found.contradictory.images == wanted


def test_networks_see_the_middle_of_a_larger_table() -> None:
    large = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    small: NDArray[np.uint8] = large[:, 2:6, 2:6].copy()
    assert np.array_equal(digests(large, 4), digests(small, 4))
    small[1, 3, 3, 2] ^= 1
    assert (digests(large, 4) == digests(small, 4)).tolist() == [True, False, True]


@pytest.mark.parametrize(("centre", "enlarged"), [(64, 0), (65, 1), (256, 2)])
def test_what_is_smaller_than_the_centre_square_is_enlarged(centre: int, enlarged: int) -> None:
    train = remembered([0, 1], [0, 1], [(64, 80), (255, 300)])
    empty = replace(
        train, names=[], labels=train.labels[:0], sizes=train.sizes[:0], digests=train.digests[:0]
    )
    assert described(train, empty, empty, centre).enlarged == enlarged
