"""What the tests of networks that were trained elsewhere share."""

from pathlib import Path

import torch
from torch import Tensor, nn

from atcore.foreign.given import Given
from atcore.foreign.taking import Taken, take_in
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build

CLASSES = ("cat", "dog", "eel")
SPEC = ModelSpec("small", CLASSES, 32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def images(count: int = 6, size: int = 32) -> Tensor:
    """uint8 N x S x S x 3."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)


def seeded(seed: int = 0) -> nn.Module:
    """The small network of `SPEC` with weights and statistics as after a training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(SPEC).train()
        model(torch.rand(16, 3, 32, 32))
    return model.requires_grad_(False).eval()


def taken(given: Given, classes: tuple[str, ...] = CLASSES, size: int = 32) -> Taken:
    shown = images(size=size)
    return take_in(given, classes, shown, torch.arange(len(shown)) % len(classes))


def given(folder: Path, architecture: str | None = "small", **other: object) -> Given:
    return Given("mine", folder, architecture, **other)  # type: ignore[arg-type]
