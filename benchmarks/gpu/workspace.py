"""The images of a run: CIFAR-10's tables, their variants, and what those keep, made on the CPUs."""

import json
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atcore.base.files import write_text
from atcore.images.decode import decode_shard
from atcore.images.stored import StoredTable, writing
from atcore.images.table import ImageTable, slices
from atcore.quality.outlines import edge_agreement, edge_correlations
from atcore.quality.results import Quality
from atcore.sources import formats
from atcore.sources.description import Remembered, describe, digests, together
from atcore.sources.splits import choose
from atcore.variants.kinds import vary
from benchmarks.gpu.settings import DATASET, VARIANTS

_SHARD = 500
# Of one variant: its name, its level, and the images.
Varied = tuple[str, float, StoredTable]


def prepare(source: Path, out: Path, params: dict[str, Any], pool: Executor) -> None:
    """Write the tables of the three splits and their description, as the stage `prepare` does."""
    folder, settings = out / "data" / DATASET, params["dataset"][DATASET]
    if (folder / "dataset.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    size = settings["image_size"]
    images = formats.load(settings["format"], source)
    labels = {split: entries.labels for split, entries in images.splits.items()}
    seed, amounts = params["run"]["seed"], settings["images"]
    chosen = choose(labels, images.classes, amounts, seed, f"dataset.{DATASET}.images")
    remembered, first = {}, 0
    for split in formats.SPLITS:
        own, parts = chosen[split], []
        entries = images.splits[own.source]
        read = list(images.read(own.source, own.indices))
        names = [entries.names[index] for index in own.indices]
        shards = slices(len(names), _SHARD)
        encoded = [list(zip(names[rows], read[rows], strict=True)) for rows in shards]
        sides = [size] * len(shards)
        with writing(folder / f"{split}.arrow") as add:
            for rows, result in zip(
                shards, pool.map(decode_shard, encoded, sides, sides), strict=True
            ):
                assert not result.problems
                found = labels[own.source][own.indices[rows]]
                parts.append(
                    Remembered(names[rows], found, result.sizes, digests(result.images, size))
                )
                ids = np.arange(first + rows.start, first + rows.start + len(found))
                origin = {"format": settings["format"]}
                add(
                    ImageTable(
                        ids=ids,
                        images=result.images,
                        labels=found,
                        classes=images.classes,
                        origin=origin,
                    )
                )
        first += len(names)
        remembered[split] = together(parts)
    description = describe(
        remembered,
        images.classes,
        image_size=size,
        centre=size,
        unreadable=[],
        skipped=images.skipped,
    )
    text = json.dumps(asdict(description), indent=2, ensure_ascii=False) + "\n"
    write_text(folder / "dataset.json", text)


def _vary(
    kind: str, test: Path, rows: slice, level: float, seed: int
) -> tuple[ImageTable, NDArray[np.float64]]:
    """Images of a variant, and how well their outlines agree with the originals'."""
    table = StoredTable(test)
    originals = table.rows(rows)
    changed = vary(kind, originals, level, table, seed)
    (agreement,) = edge_correlations(originals.images, [changed.images])
    return changed, agreement


class Variants:
    """The variants of the test images, made in other processes while the GPU computes."""

    def __init__(self, out: Path, params: dict[str, Any], pool: Executor) -> None:
        self.out, self.params = out, params
        test = out / "data" / DATASET / "test.arrow"
        self.shards = slices(len(StoredTable(test)), _SHARD)
        self._made: dict[tuple[str, float], list[Future[Any]]] = {
            (name, level): [
                pool.submit(_vary, self._kind(name), test, rows, level, params["run"]["seed"])
                for rows in self.shards
            ]
            for name, level in self.levels
        }

    def _kind(self, name: str) -> str:
        return str(self.params["variant"][name]["kind"])

    @property
    def levels(self) -> list[tuple[str, float]]:
        return [
            (name, float(level))
            for name in VARIANTS
            for level in self.params["variant"][name]["levels"]
        ]

    def write(self) -> None:
        """Wait for all of them, and write the tables and `quality`."""
        edges: dict[str, dict[float, Any]] = {}
        for (name, level), parts in self._made.items():
            folder = self.out / "variants" / DATASET / name
            folder.mkdir(parents=True, exist_ok=True)
            agreements = []
            with writing(folder / f"{level:g}.arrow") as add:
                for part in parts:
                    table, agreement = part.result()
                    add(table)
                    agreements.append(agreement)
            edges.setdefault(name, {})[level] = edge_agreement(agreements)
        for name, found in edges.items():
            file = self.out / "quality" / DATASET / f"{name}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, Quality(found, None).to_json())
        self._made = {}

    def tables(self) -> Iterator[Varied]:
        for name, level in self.levels:
            path = self.out / "variants" / DATASET / name / f"{level:g}.arrow"
            yield name, level, StoredTable(path)
