"""The stage `prepare`: from raw images to the image tables of the three splits.

Workers get encoded images and give back pixels; only this process needs the workspace.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.files import replacing, write_text
from atcore.images import shapes
from atcore.images.decode import decode_shard
from atcore.images.table import ImageTable, write
from atcore.sources import formats
from atcore.sources.description import Description, Remembered, describe, digests
from atcore.sources.splits import Amount, Chosen, choose, require_every_class
from tasks import params
from tasks.cluster import pool
from tasks.params import Dataset
from tasks.tools import account
from tasks.workspace import paths, stage

# Images of one task.
_SHARD = 200
# Pixels on the cluster at a time: a dataset need not fit into its object store.
_WAVE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class _Images:
    """The images of one split.

    Attributes:
        names: N, how messages call an image.
        pixels: uint8, N x S x S x 3.
        labels: int32, N.
        sizes: int32, N x 2, width and height of the originals.
        unreadable: names of the images left out, and why; the reason starts with the name.
    """

    names: Sequence[str]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    sizes: NDArray[np.int32]
    unreadable: dict[str, str]


@dataclass(frozen=True)
class _Recipe:
    """How to make the images of a split by its name, and what goes with them into the tables.

    Attributes:
        come_from: where the images of each split come from, as it reads after their number.
        skipped: names of raw data that are not among the images, by what they are.
    """

    make: Callable[[str], _Images]
    classes: tuple[str, ...]
    origin: dict[str, Any]
    come_from: Mapping[str, str]
    skipped: Mapping[str, Sequence[str]]


def centre(settings: Dataset) -> int:
    """Side in pixels that the centre square of every image is resized to."""
    return settings.resize or settings.image_size


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
    labels: dict[str, NDArray[np.int32]] = {}
    first = 0
    for split, amount in settings.images.model_dump().items():
        if not isinstance(amount, int):
            raise UserError(
                f"{key}.images.{split}: {json.dumps(amount)} is not allowed; "
                "shapes are generated, give a number of images"
            )
        ids[split] = range(first, first + amount)
        labels[split] = np.array([shapes.label_of(i) for i in ids[split]], np.int32)
        require_every_class(labels[split], shapes.CLASSES, split, f"{key}.images")
        first += amount

    def make(split: str) -> _Images:
        shards = [ids[split][start : start + _SHARD] for start in range(0, len(ids[split]), _SHARD)]
        drawn = pool.spread(_draw, shards, seed, total=len(shards), label=f"draw {split}")
        return _Images(
            names=[f"image {i}" for i in ids[split]],
            pixels=np.concatenate(drawn),
            labels=labels[split],
            sizes=np.full((len(ids[split]), 2), shapes.SIZE, np.int32),
            unreadable={},
        )

    return _Recipe(
        make=make,
        classes=shapes.CLASSES,
        origin={"generator": "shapes", "seed": seed},
        come_from=dict.fromkeys(ids, "drawn"),
        skipped={},
    )


def _decoded(source: formats.Source, chosen: Chosen, settings: Dataset, split: str) -> _Images:
    # Every step of training crops its images anew.
    size = centre(settings) if split == "train" else settings.image_size
    entries = source.splits[chosen.source]
    names = [entries.names[index] for index in chosen.indices]
    labels = entries.labels[chosen.indices]
    named = zip(names, source.read(chosen.source, chosen.indices), strict=True)
    shards = iter(lambda: list(islice(named, _SHARD)), [])
    wave = max(1, _WAVE_BYTES // (_SHARD * size * size * 3))
    pixels = np.empty((len(names), size, size, 3), np.uint8)
    sizes = np.empty((len(names), 2), np.int32)
    unreadable: dict[int, str] = {}
    for start in range(0, len(names), wave * _SHARD):
        end = min(start + wave * _SHARD, len(names))
        results = pool.spread(
            decode_shard,
            islice(shards, wave),
            size,
            centre(settings),
            total=math.ceil((end - start) / _SHARD),
            label=f"decode {split} images {start + 1} to {end} of {len(names)}",
        )
        pixels[start:end] = np.concatenate([result.images for result in results])
        sizes[start:end] = np.concatenate([result.sizes for result in results])
        for number, result in enumerate(results):
            for position, reason in result.problems.items():
                unreadable[start + number * _SHARD + position] = reason
    left_out = {names[i]: reason for i, reason in unreadable.items()}
    if unreadable:
        readable = np.delete(np.arange(len(names)), list(unreadable))
        pixels, labels, sizes = pixels[readable], labels[readable], sizes[readable]
        names = [names[i] for i in readable]
    return _Images(names, pixels, labels, sizes, left_out)


def _raw(dataset: str, settings: Dataset, seed: int, key: str) -> _Recipe:
    source = formats.load(settings.format, paths.RAW / dataset)
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


def _write(
    recipe: _Recipe, settings: Dataset, folder: Path, key: str
) -> tuple[Description, dict[str, str]]:
    """Write one split after the other: no more than one of them is in memory.

    Returns:
        what was written, and why images are unreadable, by their names.
    """
    remembered: dict[str, Remembered] = {}
    unreadable: dict[str, str] = {}
    for split in formats.SPLITS:
        images = recipe.make(split)
        first_id = sum(len(other.labels) for other in remembered.values())
        remembered[split] = Remembered(
            names=images.names,
            labels=images.labels,
            sizes=images.sizes,
            digests=digests(images.pixels, settings.image_size),
        )
        unreadable |= images.unreadable
        if len(unreadable) > settings.allow_unreadable:
            continue  # Only the count of all unreadable images is of use to the user now.
        require_every_class(images.labels, recipe.classes, split, f"{key}.images")
        table = ImageTable(
            ids=np.arange(first_id, first_id + len(images.labels)),
            images=images.pixels,
            labels=images.labels,
            classes=recipe.classes,
            origin=recipe.origin,
        )
        write(table, folder / paths.split("", split).name)
    if len(unreadable) > settings.allow_unreadable:
        raise UserError(
            f"{next(iter(unreadable.values()))}; unreadable images: {len(unreadable)}, "
            f"{key}.allow_unreadable: {settings.allow_unreadable}"
        )
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
        description, unreadable = _write(recipe, own, folder, key)
    left_out = {
        "unreadable images": list(unreadable.values()),
        # These come and go without a change of the images: DVC does not see them, dataset.json
        # does not name them.
        "hidden files and folders": formats.hidden(paths.RAW / dataset),
        **recipe.skipped,
    }
    for line in account.lines(description, own, key, come_from=recipe.come_from, left_out=left_out):
        print(f"{dataset}: {line}", flush=True)


if __name__ == "__main__":
    stage.run(main, "dataset")
