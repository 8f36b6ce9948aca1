"""What is trained on: splits, their batches, and what one worker computes of a batch."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from atcore.images.stored import StoredTable

Asked = TypeVar("Asked")
Result = TypeVar("Result")

# Batches that are read while the device computes.
_AHEAD = 2
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    """Images (uint8, N x H x W x 3, 0 to 255) and labels (int64, N) on the computing device."""

    images: Tensor
    labels: Tensor


class Split(Protocol):
    """Images with their labels, of which batches are drawn."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> "Split":
        """The same with its batches on a device."""
        ...

    def batches(self, rows: Sequence[Tensor]) -> Iterator[Batch]:
        """A batch for each tensor of positions, int64, which are on the CPU."""
        ...


@dataclass(frozen=True)
class LoadedSplit:
    """A split in the memory of a device: images uint8 N x H x W x 3, labels int64 N."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "LoadedSplit":
        return LoadedSplit(self.images.to(device), self.labels.to(device))

    def batches(self, rows: Sequence[Tensor]) -> Iterator[Batch]:
        # In one message: one for each batch could wait for the device. There may be no rows at all.
        none = torch.empty(0, dtype=torch.int64)
        chosen = torch.cat([none, *rows]).to(self.labels.device)
        for own in chosen.split([len(each) for each in rows]):
            yield Batch(self.images[own], self.labels[own])


def ahead(read: Callable[[Asked], Result], asked: Iterable[Asked]) -> Generator[Result, None, None]:
    """As `map`, but a thread reads a few results more while the caller is busy with one."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) as reader:
        for each in asked:
            waiting.append(reader.submit(read, each))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(frozen=True)
class StoredSplit:
    """A split on disk. While a GPU computes on a batch, the next ones are read."""

    table: StoredTable
    device: torch.device = _CPU

    def __len__(self) -> int:
        return len(self.table)

    def to(self, device: torch.device) -> "StoredSplit":
        return StoredSplit(self.table, device)

    def _read(self, chosen: Tensor) -> Batch:
        rows = chosen.numpy()
        images = torch.from_numpy(self.table.images[rows])
        labels = torch.from_numpy(self.table.labels[rows].astype(np.int64))
        if self.device.type == "cuda":
            images, labels = images.pin_memory(), labels.pin_memory()
        images, labels = (each.to(self.device, non_blocking=True) for each in (images, labels))
        return Batch(images, labels)

    def batches(self, rows: Sequence[Tensor]) -> Iterator[Batch]:
        # On the CPUs that compute, a thread that reads takes more time than it saves.
        each = map if self.device.type == "cpu" else ahead
        yield from each(self._read, rows)


def loaded(table: StoredTable, device: torch.device) -> LoadedSplit:
    """A split in the memory of a device, read piece by piece."""
    images = torch.empty(table.images.shape, dtype=torch.uint8, device=device)
    start = 0
    for part in table.verified():
        images[start : start + len(part)] = torch.from_numpy(part.images)
        start += len(part)
    return LoadedSplit(images, torch.from_numpy(table.labels.astype(np.int64)).to(device))


def splits(tables: Sequence[StoredTable], device: torch.device, gpu_share: float) -> list[Split]:
    """Tables as splits: in the memory of a GPU if all fit into that share of it, else on disk.

    A CPU finds what it reads of a file in memory, which is there once for all trainings.

    Raises:
        UserError: a table is damaged.
    """
    if device.type == "cuda":
        size = sum(int(np.prod(table.images.shape)) for table in tables)
        if size <= gpu_share * torch.cuda.get_device_properties(device).total_memory:
            return [loaded(table, device) for table in tables]
    for table in tables:
        table.verify()
    return [StoredSplit(table, device) for table in tables]


@dataclass(frozen=True)
class Part:
    """What one worker computes of a batch.

    Attributes:
        clean: float32 images in [0, 1], augmented; y: their labels.
        attacked: the same after the attack, if there is one.
        counted: how many of them count.
        batch: the number of images of the whole batch.
    """

    clean: Tensor
    attacked: Tensor
    y: Tensor
    counted: int
    batch: int
