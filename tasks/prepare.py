"""The stage `prepare`: from raw images to the image tables of the three splits.

Workers get encoded images and give back pixels; only this process needs the workspace.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.files import replacing, write_text
from atcore.images import shapes
from atcore.images.decode import decode_shard
from atcore.images.stored import writing
from atcore.images.table import ImageTable, at_most, slices
from atcore.sources import formats
from atcore.sources.description import Description, Remembered, describe, digests, together
from atcore.sources.splits import Amount, Chosen, choose, require_every_class
from tasks import params
from tasks.cluster import pool
from tasks.params import Dataset
from tasks.tools import account
from tasks.workspace import paths

# Images of one task, and bytes of them that are enough for one.
_SHARD = 200
_SHARD_BYTES = 16 * 2**20
# Unreadable images that are named on the screen.
_SHOWN = 20


@dataclass(frozen=True)
class _Shard:
    """Some images of a split, in its order.

    Attributes:
        names: N, how messages call an image.
        pixels: uint8, N x S x S x 3.
        labels: int32, N.
        sizes: int32, N x 2, width and height of the originals.
        unreadable: names of the images left out, and why; the reason starts with the name.
        lost: int32, labels of the images left out.
    """

    names: Sequence[str]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    sizes: NDArray[np.int32]
    unreadable: Mapping[str, str]
    lost: NDArray[np.int32]


@dataclass(frozen=True)
class _Recipe:
    """How to make the images of a split by its name, and what goes with them into the tables.

    Attributes:
        come_from: where the images of each split come from, as it reads after their number.
        skipped: names of raw data that are not among the images, by what they are.
    """

    make: Callable[[str], Iterator[_Shard]]
    classes: tuple[str, ...]
    origin: dict[str, Any]
    come_from: Mapping[str, str]
    skipped: Mapping[str, Sequence[str]]


def centre(settings: Dataset) -> int:
    """Side in pixels that the centre square of every image is resized to."""
    return settings.resize or settings.image_size


def _labels(ids: range) -> NDArray[np.int32]:
    return np.array([shapes.label_of(i) for i in ids], np.int32)


def _draw(ids: range, seed: int) -> NDArray[np.uint8]:
    labels = map(shapes.label_of, ids)
    return np.stack(
        [shapes.render(seed, i, label, label).pixels for i, label in zip(ids, labels, strict=True)]
    )


def _shapes(settings: Dataset, seed: int, key: str) -> _Recipe:
    if settings.image_size != shapes.SIZE:
        raise UserError(
            f"{key}.image_size: {settings.image_size} is not allowed; shapes have {shapes.SIZE}"
        )
    ids: dict[str, range] = {}
    first = 0
    for split, amount in settings.images.model_dump().items():
        if not isinstance(amount, int):
            raise UserError(
                f"{key}.images.{split}: {json.dumps(amount)} is not allowed; "
                "shapes are generated, give a number of images"
            )
        ids[split] = range(first, first + amount)
        require_every_class(_labels(ids[split]), shapes.CLASSES, split, f"{key}.images")
        first += amount

    def make(split: str) -> Iterator[_Shard]:
        own = ids[split]
        shards = [own[part] for part in slices(len(own), _SHARD)]
        drawn = pool.spread(_draw, shards, seed, total=len(shards), label=f"draw {split}")
        for shard, pixels in zip(shards, drawn, strict=True):
            yield _Shard(
                names=[f"image {i}" for i in shard],
                pixels=pixels,
                labels=_labels(shard),
                sizes=np.full((len(shard), 2), shapes.SIZE, np.int32),
                unreadable={},
                lost=np.empty(0, np.int32),
            )

    return _Recipe(
        make=make,
        classes=shapes.CLASSES,
        origin={"generator": "shapes", "seed": seed},
        come_from=dict.fromkeys(ids, "drawn"),
        skipped={},
    )


def _encoded(named: Iterable[tuple[str, bytes]], count: int) -> Iterator[list[tuple[str, bytes]]]:
    """Cut encoded images into tasks of `count`, or fewer where they are large."""
    shard: list[tuple[str, bytes]] = []
    for entry in named:
        shard.append(entry)
        if len(shard) == count or sum(len(data) for _, data in shard) >= _SHARD_BYTES:
            yield shard
            shard = []
    if shard:
        yield shard


def _decoded(
    source: formats.Source, chosen: Chosen, settings: Dataset, split: str
) -> Iterator[_Shard]:
    # Every step of training crops its images anew.
    size = centre(settings) if split == "train" else settings.image_size
    entries = source.splits[chosen.source]
    names = [entries.names[index] for index in chosen.indices]
    labels = entries.labels[chosen.indices]
    named = zip(names, source.read(chosen.source, chosen.indices), strict=True)
    decoded = pool.spread(
        decode_shard,
        _encoded(named, at_most(_SHARD, size)),
        size,
        centre(settings),
        total=len(names),
        label=f"decode {split}",
        weigh=len,
    )
    start = 0
    for result in decoded:
        own = range(start, start + len(result.images))
        start = own.stop
        readable = np.array([i not in result.problems for i in range(len(own))])
        given = labels[own.start : own.stop]
        yield _Shard(
            names=[names[i] for i, good in zip(own, readable, strict=True) if good],
            pixels=result.images[readable],
            labels=given[readable],
            sizes=result.sizes[readable],
            unreadable={names[own[i]]: reason for i, reason in result.problems.items()},
            lost=given[~readable],
        )


def _raw(dataset: str, settings: Dataset, seed: int, key: str) -> _Recipe:
    source = formats.load(settings.format, paths.RAW / dataset, settings.label)
    labels = {split: entries.labels for split, entries in source.splits.items()}
    amounts: dict[str, Amount] = settings.images.model_dump()
    chosen = choose(labels, source.classes, amounts, seed, f"{key}.images")
    own = {
        split: f"of {len(entries.labels):,} in {entries.place}"
        for split, entries in source.splits.items()
    }
    return _Recipe(
        make=lambda split: _decoded(source, chosen[split], settings, split),
        classes=source.classes,
        origin={"format": settings.format},
        come_from={split: own.get(split, "held out of train") for split in formats.SPLITS},
        skipped=source.skipped,
    )


def _list(dataset: str, reasons: Sequence[str]) -> Path:
    """Write why images are unreadable into a file, and show the first of them."""
    path = paths.unreadable(dataset)
    path.parent.mkdir(exist_ok=True)
    write_text(path, "".join(f"{reason}\n" for reason in reasons))
    for reason in reasons[:_SHOWN]:
        print(reason, flush=True)
    return path


def _write(
    recipe: _Recipe, settings: Dataset, folder: Path, dataset: str
) -> tuple[Description, dict[str, str]]:
    """Write one split after the other, as its images come.

    Returns:
        what was written, and why images are unreadable, by their names.
    """
    key = f"dataset.{dataset}"
    remembered: dict[str, Remembered] = {}
    unreadable: dict[str, str] = {}
    lost: dict[str, NDArray[np.int32]] = {}
    first_id = 0
    for split in formats.SPLITS:
        parts, without = [], []
        with writing(folder / paths.split("", split).name) as add:
            for shard in recipe.make(split):
                unreadable |= shard.unreadable
                without.append(shard.lost)
                parts.append(
                    Remembered(
                        names=shard.names,
                        labels=shard.labels,
                        sizes=shard.sizes,
                        digests=digests(shard.pixels, settings.image_size),
                    )
                )
                add(
                    ImageTable(
                        ids=np.arange(first_id, first_id + len(shard.labels)),
                        images=shard.pixels,
                        labels=shard.labels,
                        classes=recipe.classes,
                        origin=recipe.origin,
                    )
                )
                first_id += len(shard.labels)
        remembered[split] = together(parts)
        lost[split] = np.concatenate(without)
    reasons = list(unreadable.values())
    if len(unreadable) > settings.allow_unreadable:
        raise UserError(
            f"{reasons[0]}; unreadable images: {len(unreadable)}, {key}.allow_unreadable: "
            f"{settings.allow_unreadable}; all of them are in {_list(dataset, reasons)}: mend "
            "them, remove them, or allow so many"
        )
    for split in formats.SPLITS:

        def why(label: int, lost: NDArray[np.int32] = lost[split]) -> str:
            return (
                f"unreadable images of it: {(lost == label).sum()}, all that were taken; they are "
                f"in {_list(dataset, reasons)}: mend or remove them"
            )

        labels = remembered[split].labels
        require_every_class(labels, recipe.classes, split, f"{key}.images", why)
    description = describe(
        remembered,
        recipe.classes,
        image_size=settings.image_size,
        centre=centre(settings),
        unreadable=list(unreadable),
        skipped=recipe.skipped,
    )
    text = json.dumps(asdict(description), indent=2, ensure_ascii=False) + "\n"
    write_text(folder / paths.dataset_info("").name, text)
    return description, unreadable


def main(dataset: str) -> None:
    """Write the image tables of train, validation and test, and dataset.json, all or nothing.

    Then say what was understood. Ids are consecutive over the three splits. Images that cannot be
    decoded are left out where `allow_unreadable` covers their number. The files do not depend on
    the number of workers.

    Raises:
        UserError: the dataset is unknown, or its parameters or raw images need mending.
    """
    settings = params.load()
    settings.require(dataset=dataset)
    own, seed, key = settings.dataset[dataset], settings.run.seed, f"dataset.{dataset}"
    recipe = _shapes(own, seed, key) if own.format == "shapes" else _raw(dataset, own, seed, key)
    with pool.connect(), replacing(paths.dataset_info(dataset).parent) as folder:
        description, unreadable = _write(recipe, own, folder, dataset)
    left_out = {
        "unreadable images": list(unreadable.values()),
        # These come and go without a change of the images: DVC does not see them, dataset.json
        # does not name them.
        "hidden, or left by systems": formats.no_data(paths.RAW / dataset),
        **recipe.skipped,
    }
    for line in account.lines(
        description,
        own,
        key,
        come_from=recipe.come_from,
        left_out=left_out,
        links=formats.links(paths.RAW / dataset),
    ):
        print(f"{dataset}: {line}", flush=True)
