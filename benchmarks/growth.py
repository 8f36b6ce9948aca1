"""What the stages take against the number of images: seconds, and peak memory of a process.

    python -m benchmarks.growth [--images 1000 4000 16000] [--side 256] [--crop 32]

Writes a folder of photographs of three classes, sixty in a hundred of them for training, as JPEG
files of that side, and runs every stage once on a cluster of this machine. A network sees the
images at their full size, or crops: one epoch of the small network without an attack, one step of
attack in the evaluation, gradients of 200 images. Images for training are kept at full size. Peak
memory is that of the largest process that works for the stage, its workers on the cluster included.
Prints seconds and MB, and their least-squares slope per 1,000 images. Writes nothing but temporary
files.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, time

import numpy as np
import psutil
import yaml
from PIL import Image

from tasks.cluster.local import LocalCluster

PROJECT = Path(__file__).parents[1]
_DATASET, _METHOD, _VARIANT = "my_folder", "standard", "saturated"
_SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}
STAGES = (
    ("prepare", _DATASET),
    ("variants", _DATASET, _VARIANT),
    ("quality", _DATASET, _VARIANT),
    ("train", _DATASET, _METHOD, "0"),
    ("evaluate", _DATASET, _METHOD, "0"),
    ("salience", _DATASET, _METHOD, "0"),
    ("report",),
)
_SECONDS_BETWEEN_LOOKS = 0.05


def photographs(folder: Path, count: int, side: int) -> None:
    """Write JPEG files, about as smooth as photographs, by split and class."""
    rng = np.random.default_rng(0)
    number = 0
    for split, share in _SHARES.items():
        for _ in range(round(share * count)):
            coarse = rng.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
            file = folder / split / "abc"[number % 3] / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(coarse).resize((side, side)).save(file)
            number += 1


def _parameters(side: int, crop: int | None) -> str:
    document = yaml.safe_load((PROJECT / "params.yaml").read_text())
    document["run"] |= {
        "datasets": [_DATASET],
        "methods": [_METHOD],
        "controls": [],
        "variants": [_VARIANT],
    }
    dataset = document["dataset"][_DATASET]
    dataset |= {"image_size": crop or side, "images": dict.fromkeys(_SHARES)}
    dataset["resize"] = side if crop else None
    dataset["training"] |= {"architecture": "small", "epochs": 1}
    document["evaluate"]["robustness"] = [
        {**document["evaluate"]["robustness"][0], "steps": 1, "step_size": 1}
    ]
    document["salience"]["measured"] = {"gradient": 200}
    return str(yaml.safe_dump(document))


class _Peak:
    """The most memory that a process below this one has had at once."""

    def __init__(self) -> None:
        self.bytes = 0
        self.name = ""
        self._since = time()
        self._over = threading.Event()

    def _look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error, OSError, IndexError):
                name = " ".join(process.cmdline())
                if process.create_time() >= self._since:
                    # Its own mark, which misses nothing between two looks.
                    status = Path("/proc", str(process.pid), "status").read_text()
                    most = int(status.partition("VmHWM:")[2].split()[0]) * 1024
                elif name.startswith("ray::"):
                    # A worker that was there before, waiting for work.
                    most = process.memory_info().rss
                else:
                    continue
                if most > self.bytes:
                    self.bytes, self.name = most, name

    def _watch(self) -> None:
        while not self._over.wait(_SECONDS_BETWEEN_LOOKS):
            self._look()

    @classmethod
    @contextmanager
    def watched(cls) -> Iterator["_Peak"]:
        peak = cls()
        thread = threading.Thread(target=peak._watch)
        thread.start()
        try:
            yield peak
        finally:
            peak._over.set()
            thread.join()


def _measured(
    root: Path, stage: tuple[str, ...], environment: Mapping[str, str]
) -> tuple[float, float]:
    """Seconds and MB of a stage."""
    name, *arguments = stage
    with _Peak.watched() as peak:
        started = perf_counter()
        ended = subprocess.run(
            [sys.executable, "-m", "tasks", name, *arguments],
            cwd=root,
            env=os.environ | environment | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = perf_counter() - started
    if ended.returncode:
        raise RuntimeError(f"{' '.join(stage)}: {ended.stdout}{ended.stderr}")
    print(
        f"{stage[0]}: {seconds:.1f} s, {peak.bytes / 1e6:.0f} MB: {peak.name[:60]}", file=sys.stderr
    )
    return seconds, peak.bytes / 1e6


def _row(stage: str, amounts: list[int], found: list[tuple[float, float]]) -> str:
    cells = [f"{seconds:.1f} s, {peak:.0f} MB" for seconds, peak in found]
    if len(amounts) > 1:
        thousands = np.array(amounts) / 1000
        slopes = [np.polyfit(thousands, values, 1)[0] for values in zip(*found, strict=True)]
        cells.append(f"{slopes[0]:.2f} s, {slopes[1]:+.1f} MB")
    return f"| {stage} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 4000, 16000])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--crop", type=int)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name, *_ in STAGES}
    for count in options.images:
        with tempfile.TemporaryDirectory() as folder, LocalCluster() as cluster:
            root = Path(folder)
            (root / "params.yaml").write_text(_parameters(options.side, options.crop))
            photographs(root / "raw" / _DATASET, count, options.side)
            for stage in STAGES:
                found[stage[0]].append(_measured(root, stage, cluster.environment()))
    amounts = [f"{count:,} images" for count in options.images]
    heading = ["stage", *amounts, *(["per 1,000 images"] if len(amounts) > 1 else [])]
    print(f"| {' | '.join(heading)} |")
    print(f"|{'---|' * len(heading)}")
    for name, rows in found.items():
        print(_row(name, options.images, rows))


if __name__ == "__main__":
    main()
