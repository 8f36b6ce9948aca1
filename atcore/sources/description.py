"""What there is to say about the images of a dataset: how many, how large, which ones twice."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Remembered:
    """What is remembered of the images of a split when their pixels have been written.

    Attributes:
        names: N, how messages call an image.
        labels: int32, N.
        sizes: int32, N x 2, width and height of the originals.
        digests: uint64, N, of what networks see, as `digests` has them.
    """

    names: Sequence[str]
    labels: NDArray[np.int32]
    sizes: NDArray[np.int32]
    digests: NDArray[np.uint64]


def together(parts: Sequence[Remembered]) -> Remembered:
    """What is remembered of all parts of a split, of which there is one at least."""
    return Remembered(
        names=list(chain.from_iterable(part.names for part in parts)),
        labels=np.concatenate([part.labels for part in parts]),
        sizes=np.concatenate([part.sizes for part in parts]),
        digests=np.concatenate([part.digests for part in parts]),
    )


def digests(images: NDArray[np.uint8], size: int) -> NDArray[np.uint64]:
    """Digests of the middle squares of `size` pixels a side, N x S x S x 3 to N.

    Images are the same to a network if their pixels are, as it gets them: the same photograph in
    two files, with other metadata or in another lossless format too.
    """
    margin = (images.shape[1] - size) // 2
    middle = images[:, margin : margin + size, margin : margin + size]
    hashes = (sha256(image.tobytes()).digest()[:8] for image in middle)
    return np.fromiter((int.from_bytes(each, "little") for each in hashes), np.uint64, len(images))


@dataclass(frozen=True)
class ClassSize:
    name: str
    images: int


@dataclass(frozen=True)
class Repetition:
    """How many images there are twice, and the names of two that are the same."""

    images: int
    example: tuple[str, str] | None


@dataclass(frozen=True)
class Description:
    """A dataset as `prepare` understood it; dataset.json has these keys.

    Attributes:
        image_size: side in pixels, as networks see the images.
        counts: images by split.
        smallest_class, largest_class: by split; the first one of equals.
        original_sizes: width and height in pixels of the `smallest`, the `median` and the `largest`
            original, by their number of pixels.
        enlarged: originals whose shorter side had to grow.
        repeated: images of a split that are in another one too, as `test in train`.
        contradictory: images that occur with different labels.
        unreadable: names of the images that were left out.
        skipped: how many other things were left out, by what they are.
    """

    classes: tuple[str, ...]
    image_size: int
    counts: dict[str, int]
    smallest_class: dict[str, ClassSize]
    largest_class: dict[str, ClassSize]
    original_sizes: dict[str, tuple[int, int]]
    enlarged: int
    repeated: dict[str, Repetition]
    contradictory: Repetition
    unreadable: tuple[str, ...]
    skipped: dict[str, int]


def _repeated(later: Remembered, earlier: Remembered) -> Repetition:
    found = np.flatnonzero(np.isin(later.digests, earlier.digests))
    if not len(found):
        return Repetition(0, None)
    twin = np.flatnonzero(earlier.digests == later.digests[found[0]])[0]
    return Repetition(len(found), (later.names[found[0]], earlier.names[twin]))


def _contradictory(splits: Collection[Remembered]) -> Repetition:
    labels = np.concatenate([split.labels for split in splits])
    digests = np.concatenate([split.digests for split in splits])
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    others = np.flatnonzero(labels != labels[first][group])
    if not len(others):
        return Repetition(0, None)
    names = list(chain.from_iterable(split.names for split in splits))
    images = int(np.isin(group, group[others]).sum())
    return Repetition(images, (names[others[0]], names[first[group[others[0]]]]))


def _original_sizes(sizes: NDArray[np.int32]) -> dict[str, tuple[int, int]]:
    width, height = sizes.T.astype(np.int64)
    ascending = sizes[np.lexsort((width, width * height))]
    positions = {"smallest": 0, "median": (len(sizes) - 1) // 2, "largest": len(sizes) - 1}
    return {
        name: (int(ascending[position][0]), int(ascending[position][1]))
        for name, position in positions.items()
    }


def describe(
    splits: Mapping[str, Remembered],
    classes: Sequence[str],
    *,
    image_size: int,
    centre: int,
    unreadable: Sequence[str],
    skipped: Mapping[str, Sequence[str]],
) -> Description:
    """Describe a dataset, which has an image at least.

    Args:
        splits: in the order train, validation, test.
        centre: side in pixels that the centre squares of the originals were resized to.
        unreadable: names of the images that were left out.
        skipped: names of what else was, by what it is.
    """
    sizes = np.concatenate([split.sizes for split in splits.values()])
    per_class = {
        name: np.bincount(split.labels, minlength=len(classes)) for name, split in splits.items()
    }

    def sized(counts: NDArray[np.int64], index: int) -> ClassSize:
        return ClassSize(classes[index], int(counts[index]))

    return Description(
        classes=tuple(classes),
        image_size=image_size,
        counts={name: len(split.labels) for name, split in splits.items()},
        smallest_class={
            name: sized(counts, int(counts.argmin())) for name, counts in per_class.items()
        },
        largest_class={
            name: sized(counts, int(counts.argmax())) for name, counts in per_class.items()
        },
        original_sizes=_original_sizes(sizes),
        enlarged=int((sizes.min(axis=1) < centre).sum()),
        repeated={
            f"{later} in {earlier}": _repeated(splits[later], splits[earlier])
            for earlier, later in combinations(splits, 2)
        },
        contradictory=_contradictory(splits.values()),
        unreadable=tuple(unreadable),
        skipped={what: len(names) for what, names in skipped.items() if names},
    )
