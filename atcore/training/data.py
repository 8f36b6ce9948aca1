"""What is trained on: whole splits, and what one worker computes of a batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atcore.images.table import ImageTable


@dataclass(frozen=True)
class Split:
    """Images (uint8, N x H x W x 3, 0 to 255) and labels (int64, N) as tensors."""

    images: Tensor
    labels: Tensor

    @staticmethod
    def of(table: ImageTable) -> "Split":
        """The images and labels of a table, copied."""
        labels = torch.from_numpy(table.labels.astype(np.int64))
        return Split(torch.from_numpy(table.images.copy()), labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


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
