"""Small inputs that the tests of `atcore` share: images of `shapes`, specs and trained networks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atcore.images import shapes
from atcore.images.pixels import channel_statistics
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.training.data import LoadedSplit
from atcore.training.loop import Progress, train, trained_weights
from atcore.training.spec import TrainingSpec


def shapes_table(count: int, *, start: int = 0, seed: int = 0) -> ImageTable:
    """Images `start` to `start + count` of the dataset `shapes`, texture and shape of one class."""
    ids = np.arange(start, start + count, dtype=np.int64)
    labels = np.array([shapes.label_of(int(i)) for i in ids], dtype=np.int32)
    images = [
        shapes.render(seed, int(i), int(label), int(label)).pixels
        for i, label in zip(ids, labels, strict=True)
    ]
    origin = {"generator": "shapes", "seed": seed}
    return ImageTable(ids, np.stack(images), labels, shapes.CLASSES, origin=origin)


def split_of(table: ImageTable, labels: NDArray[np.int32] | None = None) -> LoadedSplit:
    """The images as tensors, with other labels than their own where given."""
    chosen = table.labels if labels is None else labels
    return LoadedSplit(torch.from_numpy(table.images), torch.from_numpy(chosen.astype(np.int64)))


def halved(split: LoadedSplit) -> LoadedSplit:
    """Images of half the side: a quarter of the work where size does not matter."""
    return LoadedSplit(split.images[:, ::2, ::2].contiguous(), split.labels)


def model_spec(split: LoadedSplit, architecture: str = "small") -> ModelSpec:
    mean, std = channel_statistics([split.images])
    return ModelSpec(architecture, shapes.CLASSES, split.images.shape[1], mean, std)


def training_spec(**changes: Any) -> TrainingSpec:
    """A standard run of two epochs in float32, with `changes`."""
    spec = TrainingSpec(
        epochs=2,
        batch_size=32,
        learning_rate=0.03,
        momentum=0.9,
        weight_decay=5e-4,
        precision="fp32",
        threads=1,  # two would wait for each other on a busy machine
        seed=0,
    )
    return replace(spec, **changes)


def native_precision() -> str:
    """What `auto` has to be on this CPU, by what the kernel says of it."""
    words = set(Path("/proc/cpuinfo").read_text().split())
    return "bf16" if {"avx512_bf16", "amx_bf16"} & words else "fp32"


def train_to_end(spec: TrainingSpec, training: LoadedSplit, validation: LoadedSplit) -> Progress:
    """The last thing a whole training run of the small network yields."""
    *_, last = train(spec, model_spec(training), training, validation)
    return last


def trained_network(
    spec: TrainingSpec, training: LoadedSplit, validation: LoadedSplit
) -> nn.Module:
    """The network at the end of a training run, in eval mode."""
    last = train_to_end(spec, training, validation)
    return trained_weights(last.checkpoint, model_spec(training)).eval()


def repeated(run: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], Callable[[], None]]:
    """What a CUDA graph does, without one: the same results' memory, written again."""
    results = run()

    def replay() -> None:
        for result, value in zip(results, run(), strict=True):
            result.copy_(value)

    return results, replay
