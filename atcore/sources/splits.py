"""Which images train, which validate and which test."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.rng import numpy_rng

# A number of images, a share of those there are, or None for all.
Amount = int | float | None


@dataclass(frozen=True)
class Chosen:
    """The images of a split.

    Attributes:
        source: the split of the source they come from.
        indices: int64, ascending positions in it.
    """

    source: str
    indices: NDArray[np.int64]


def of_source(amount: Amount, split: str, source: str) -> Amount:
    """What to take of the source's split `source` where `amount` of `split` is asked for.

    A share of validation or test says how much to hold out of the training images: what the source
    itself holds out is taken whole.
    """
    return None if isinstance(amount, float) and source == split != "train" else amount


def _ranks(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many of the images before each one have its class, N."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    first = np.cumsum(counts) - counts
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - first[labels[order]]
    return ranks


def _take(
    amount: Amount,
    pool: NDArray[np.int64],
    labels: NDArray[np.int32],
    *,
    seed: int,
    split: str,
    key: str,
) -> NDArray[np.int64]:
    """Positions of this amount of the pool; a share counts from all images, pool or not."""
    if amount is None:
        return pool
    if isinstance(amount, int) and amount > len(pool):
        raise UserError(f"{key}.{split}: {amount} is not allowed; there are {len(pool)} images")
    shuffled = numpy_rng(seed, f"split/{split}").permutation(pool)
    ranks = _ranks(labels[shuffled])
    if isinstance(amount, int):
        # Going round the classes takes equally many of each, until a class has no more.
        return np.sort(shuffled[np.argsort(ranks, kind="stable")[:amount]])
    quota = np.maximum(1, np.rint(amount * np.bincount(labels)))
    return np.sort(shuffled[ranks < quota[labels[shuffled]]])


def _require_share(
    share: float,
    labels: NDArray[np.int32],
    pool: NDArray[np.int64],
    held_out: Mapping[str, NDArray[np.int64]],
    classes: Sequence[str],
    key: str,
) -> None:
    """Check that the pool has a share of every class, but for what others have rounded up.

    That is at most one image of a class for each split.

    Args:
        labels: of all images of the source's split.
        pool: those of them that no other split has taken.
        held_out: those that others have taken, by split.
        key: of the share.
    """
    counts = np.bincount(labels, minlength=len(classes))
    left = np.bincount(labels[pool], minlength=len(classes))
    for name, count, rest in zip(classes, counts, left, strict=True):
        if share * count - rest > len(held_out):
            raise UserError(
                f"{key}: {share} is not allowed; of the {count} images of class {name!r} {rest} "
                "are left"
            )


def require_every_class(
    labels: NDArray[np.int32],
    classes: Sequence[str],
    split: str,
    key: str,
    why: Callable[[int], str] = lambda _label: "every class needs one",
) -> None:
    """Check that a train or test split has images of every class.

    Args:
        why: says why a class, given its label, has none, and what to do.

    Raises:
        UserError: names the key, `key`.`split`, and a class without images.
    """
    if split == "validation":
        return
    counts = np.bincount(labels, minlength=len(classes))
    for label, name in enumerate(classes):
        if not counts[label]:
            raise UserError(f"{key}.{split}: class {name!r} has no {split} image; {why(label)}")


def _why_none(
    label: int,
    labels: NDArray[np.int32],
    pool: NDArray[np.int64],
    held_out: Mapping[str, NDArray[np.int64]],
    key: str,
) -> str:
    """Why no image of a class was picked from the pool, and what changes that.

    Args:
        labels: of all images of the source's split.
        pool: those of them that no other split has taken.
        held_out: those that others have taken, by split.
    """
    count = int((labels == label).sum())
    if not count:
        return "every class needs one: add some"
    if (labels[pool] == label).any():
        return "so few images do not reach every class: give a larger number"
    held = {split: int((labels[taken] == label).sum()) for split, taken in held_out.items()}
    parts = "".join(f", held out for {split}: {taken}" for split, taken in held.items() if taken)
    # Every class is tested, and a share holds out one image of each, however small it is.
    lower = " or ".join(f"{key}.{split}" for split, taken in held.items() if taken > 1)
    return f"images of it: {count}{parts}: add more{', or lower ' if lower else ''}{lower}"


def choose(
    labels: Mapping[str, NDArray[np.int32]],
    classes: Sequence[str],
    amounts: Mapping[str, Amount],
    seed: int,
    key: str,
) -> dict[str, Chosen]:
    """Choose disjoint splits; a function of the arguments alone.

    A split the source lacks is held out of its training images: first the test, then the
    validation images. A number of images is spread over the classes as evenly as they allow. A
    share is one of each class, rounded, but at least one image; where the source has validation or
    test images of its own, a share takes all of them. A smaller number is a subset of a larger one,
    as long as the other splits stay the same.

    Args:
        labels: int32, of the source's images, by split; at least `train`.
        amounts: by split; all of `train`, `validation` and `test`.
        key: where the amounts lie in params.yaml, for error messages.

    Raises:
        UserError: names the key. A number or a share is larger than what there is, all of a
            split is asked for that the source lacks, or a class would have no image for training or
            testing.
    """
    pools = {split: np.arange(len(values)) for split, values in labels.items()}
    chosen: dict[str, Chosen] = {}
    for split in ("test", "validation", "train"):
        source = split if split in labels else "train"
        amount = of_source(amounts[split], split, source)
        if amount is None and source != split:
            raise UserError(
                f"{key}.{split}: null is not allowed, as the source has no {split} images of its "
                "own; give a number of images or a share such as 0.2"
            )
        held_out = {other: part.indices for other, part in chosen.items() if part.source == source}
        if isinstance(amount, float):
            where = f"{key}.{split}"
            _require_share(amount, labels[source], pools[source], held_out, classes, where)
        picked = _take(amount, pools[source], labels[source], seed=seed, split=split, key=key)
        why = partial(
            _why_none, labels=labels[source], pool=pools[source], held_out=held_out, key=key
        )
        require_every_class(labels[source][picked], classes, split, key, why)
        pools[source] = np.setdiff1d(pools[source], picked, assume_unique=True)
        chosen[split] = Chosen(source, picked)
    return chosen
