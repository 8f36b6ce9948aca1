"""Image tables on disk against other ways to keep images: time and peak memory.

    python -m benchmarks.tables [--images 2000] [--side 256] [--rounds 3]

Each round lets every contestant, in turn and in fresh processes, write the images, which come 100
at a time, open what it wrote, and draw random batches of 128. `arrow` are our tables. The two kinds
of Parquet have no rows that could be read alone: opening reads all of it. `lists` was our format
before; `datasets` is the library of Hugging Face, which keeps images encoded (PNG) in Arrow files;
`folder` are PNG files under torchvision's ImageFolder, its batches from a DataLoader without
workers. Prints medians [minimum, maximum] and the ratio of the medians to ours. Writes
nothing but temporary files.
"""

import argparse
import multiprocessing
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from atcore.images.stored import StoredTable, writing
from atcore.images.table import ImageTable, concatenate, slices

_SHARD, _BATCH, _BATCHES = 100, 128, 5
# How a way gets the images of some rows, once it has opened what it wrote.
Draw = Callable[[NDArray[np.int64]], object]


def _shards(count: int, side: int) -> Iterator[ImageTable]:
    """About as smooth as photographs, so that they compress like them."""
    rng = np.random.default_rng(0)
    for part in slices(count, _SHARD):
        ids = np.arange(part.start, part.stop)
        coarse = rng.integers(0, 256, (len(ids), side // 16, side // 16, 3), np.uint8)
        images = np.stack([np.asarray(Image.fromarray(i).resize((side, side))) for i in coarse])
        grain = rng.integers(0, 8, images.shape, np.uint8)
        labels = (ids % 10).astype(np.int32)
        yield ImageTable(ids, images // 2 + grain, labels, tuple("abcdefghij"))


def _write_arrow(shards: Iterator[ImageTable], path: Path) -> None:
    with writing(path) as add:
        for shard in shards:
            add(shard)


def _open_arrow(path: Path) -> Draw:
    return StoredTable(path).rows


def _write_lists(shards: Iterator[ImageTable], path: Path) -> None:
    table = concatenate(list(shards))
    pixels = pa.FixedSizeListArray.from_arrays(
        pa.array(table.images.reshape(-1)), int(np.prod(table.images.shape[1:]))
    )
    columns = {"image": pixels, "label": pa.array(table.labels)}
    pq.write_table(pa.table(columns), path, row_group_size=4096, compression="zstd")


def _open_lists(path: Path) -> Draw:
    storage = pq.read_table(path).column("image").combine_chunks()
    images = storage.flatten().to_numpy().reshape(len(storage), -1)
    return lambda rows: images[rows]


def _write_binary(shards: Iterator[ImageTable], path: Path) -> None:
    table = concatenate(list(shards))
    size = int(np.prod(table.images.shape[1:]))
    buffers = [None, pa.py_buffer(table.images)]
    pixels = pa.Array.from_buffers(pa.binary(size), len(table), buffers)
    columns = {"image": pixels, "label": pa.array(table.labels)}
    pq.write_table(pa.table(columns), path, row_group_size=4096, compression="zstd")


def _open_binary(path: Path) -> Draw:
    column = pq.read_table(path).column("image").combine_chunks()
    images = np.frombuffer(column.buffers()[1], np.uint8).reshape(len(column), -1)
    return lambda rows: images[rows]


def _write_datasets(shards: Iterator[ImageTable], path: Path) -> None:
    # A second of imports, which the others do without.
    from datasets import Features, Value  # noqa: PLC0415
    from datasets import Image as Encoded  # noqa: PLC0415
    from datasets.arrow_writer import ArrowWriter  # noqa: PLC0415

    features = Features({"image": Encoded(), "label": Value("int32")})
    with ArrowWriter(features=features, path=str(path)) as writer:
        for shard in shards:
            for pixels, label in zip(shard.images, shard.labels, strict=True):
                row = {"image": Image.fromarray(pixels), "label": label}
                writer.write(features.encode_example(row))
        writer.finalize()


def _open_datasets(path: Path) -> Draw:
    from datasets import Dataset  # noqa: PLC0415

    dataset = Dataset.from_file(str(path))
    return lambda rows: [np.asarray(image) for image in dataset[rows.tolist()]["image"]]


def _write_folder(shards: Iterator[ImageTable], path: Path) -> None:
    for shard in shards:
        for number, pixels, label in zip(shard.ids, shard.images, shard.labels, strict=True):
            (path / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path / str(label) / f"{number}.png")


def _open_folder(path: Path) -> Draw:
    # As heavy as torch, which the others do without.
    from torch.utils.data import DataLoader  # noqa: PLC0415
    from torchvision.datasets import ImageFolder  # noqa: PLC0415
    from torchvision.transforms import PILToTensor  # noqa: PLC0415

    folder = ImageFolder(path, PILToTensor())
    return lambda rows: list(DataLoader(folder, batch_sampler=[rows.tolist()]))


WAYS = {
    "arrow": (_write_arrow, _open_arrow),
    "lists": (_write_lists, _open_lists),
    "binary": (_write_binary, _open_binary),
    "datasets": (_write_datasets, _open_datasets),
    "folder": (_write_folder, _open_folder),
}


@dataclass(frozen=True)
class Figures:
    """Seconds, and MB of peak memory of the process that wrote and of the one that read."""

    write: float
    open: float
    batch: float
    writer: float
    reader: float


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _written(way: str, path: Path, count: int, side: int) -> tuple[float, float]:
    making = 0.0

    def timed() -> Iterator[ImageTable]:
        nonlocal making
        shards, started = _shards(count, side), time.perf_counter()
        for shard in shards:
            making += time.perf_counter() - started
            yield shard
            started = time.perf_counter()

    started = time.perf_counter()
    WAYS[way][0](timed(), path)
    return time.perf_counter() - started - making, _peak()


def _drawn(way: str, path: Path, count: int) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    for _ in range(2):  # The first time imports what is needed.
        started = time.perf_counter()
        draw = WAYS[way][1](path)
        opened = time.perf_counter() - started
    seconds = []
    for _ in range(_BATCHES):
        rows = rng.permutation(count)[:_BATCH]
        started = time.perf_counter()
        draw(rows)
        seconds.append(time.perf_counter() - started)
    return opened, statistics.median(seconds), _peak()


def _alone(function: Callable[..., tuple[float, ...]], *arguments: object) -> tuple[float, ...]:
    """In a process of its own, whose peak memory is then nobody else's."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *arguments).result()


def _measured(way: str, folder: Path, count: int, side: int) -> Figures:
    path = folder / way
    write, writer = _alone(_written, way, path, count, side)
    opened, batch, reader = _alone(_drawn, way, path, count)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Figures(write, opened, batch, writer, reader)


def _shown(values: Sequence[float], ours: Sequence[float], scale: float) -> str:
    middle, low, high = (scale * f(values) for f in (statistics.median, min, max))
    ratio = statistics.median(values) / statistics.median(ours)
    return f"{middle:.4g} [{low:.4g}, {high:.4g}] ({ratio:.3g}x)"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[Figures]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for way, figures in found.items():
                figures.append(_measured(way, Path(folder), options.images, options.side))
    print(
        f"{options.images} images of {options.side} px, {options.rounds} rounds, "
        f"{platform.machine()}, pyarrow {pa.__version__}\n"
    )
    print("| | write, s | open, ms | batch of 128, ms | writer's peak, MB | reader's peak, MB |")
    print("|---|---|---|---|---|---|")
    for way, figures in found.items():
        cells = [
            _shown([getattr(f, name) for f in figures], [getattr(f, name) for f in ours], scale)
            for ours in [found["arrow"]]
            for name, scale in (
                ("write", 1),
                ("open", 1000),
                ("batch", 1000),
                ("writer", 1),
                ("reader", 1),
            )
        ]
        print(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
