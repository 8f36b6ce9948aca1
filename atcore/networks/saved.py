"""A trained network as others use it: from the folder that holds it to a module."""

from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.images.decode import decode
from atcore.images.pixels import to_pixels
from atcore.networks.architecture import SPEC, ModelSpec
from atcore.networks.models import load


class Classifier(nn.Module):
    """A trained network, in eval mode and with frozen weights, on the CPU.

    Takes float32 N x 3 x H x W in [0, 1], which it normalises itself, and gives N x classes logits.

    Attributes:
        spec: what it is made of.
        classes: names, in the order of the logits.
        image_size: side in pixels of the images that it was trained on.
    """

    def __init__(self, spec: ModelSpec, weights: bytes) -> None:
        super().__init__()
        self.network = load(spec, weights)
        self.spec, self.classes, self.image_size = spec, spec.classes, spec.image_size
        self.eval()

    def image(self, file: str | PathLike[str]) -> Tensor:
        """An image file as the network takes it: its centre square, 1 x 3 x H x W.

        Raises:
            OSError: the file cannot be read.
            UnreadableImageError: it is no image, or damaged.
        """
        pixels = decode(Path(file).read_bytes(), self.image_size, str(file))
        return to_pixels(torch.from_numpy(pixels)[None])

    def forward(self, x: Tensor) -> Tensor:
        """
        Raises:
            TypeError: pixels are whole numbers, such as uint8, which are not in [0, 1].
        """
        if not x.is_floating_point():
            raise TypeError(f"pixels are {x.dtype}; give float32 in [0, 1], as image() does")
        logits: Tensor = self.network(x)
        return logits


def _require(file: Path) -> None:
    if not file.is_file():
        raise UserError(f"{file}: no such file; give the folder of a trained network")


def read(folder: Path) -> Classifier:
    """The network of a folder such as `models/shapes/pgd_linf_8/0`.

    Raises:
        UserError: a file is missing or damaged; names it.
    """
    description = folder / SPEC
    _require(description)
    try:
        spec = ModelSpec.from_json(description.read_text(errors="replace"))
    except UserError as error:
        raise UserError(f"{description}: {error}") from error
    weights = folder / spec.weights_file
    _require(weights)
    try:
        return Classifier(spec, weights.read_bytes())
    except UserError as error:
        raise UserError(f"{weights}: {error}") from error
