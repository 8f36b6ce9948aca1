"""The encoder of AdaIN: VGG-19 up to relu4_1, with weights of torchvision's layout.

The layout is that of `torchvision.models.vgg19().features`, whose keys `features.N.weight` and
`features.N.bias` a file of weights uses. The widths are those of the file, so that a narrow network
of the same layout, trained on whatever images, is an encoder too.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD, download
from atcore.networks.vgg import CONVOLUTIONS, OUTPUTS, features

_WITHOUT = "stylizing without weights: transfer: filtered"


class Encoder(nn.Module):
    """float32 N x 3 x H x W in [0, 1] to the activations relu1_1, relu2_1, relu3_1 and relu4_1.

    The images are normalised inside; H and W are at least 16.

    Args:
        widths: channels of the nine convolutions.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.features = features(widths, normalised=False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = (x - self.mean) / self.std
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in OUTPUTS:
                found.append(x)
        return tuple(found)

    def to_bytes(self) -> bytes:
        """All weights in safetensors format, under the names of torchvision's layout."""
        return save(self.state_dict())


def widths_of(weights: Mapping[str, Tensor], source: str) -> tuple[int, ...]:
    """The channels of the nine convolutions of a file of weights.

    Args:
        weights: `features.N.weight` and `features.N.bias`; other keys do not count.
        source: what messages call the file.

    Raises:
        UserError: a weight is missing or has another shape than VGG-19 has there.
    """
    widths: list[int] = []
    for index in CONVOLUTIONS:
        inputs = widths[-1] if widths else 3
        weight = weights.get(f"features.{index}.weight")
        bias = weights.get(f"features.{index}.bias")
        if weight is None or bias is None:
            raise UserError(
                f"{source}: no encoder of VGG-19's layout: no features.{index}.weight and .bias"
            )
        if weight.shape[1:] != (inputs, 3, 3) or bias.shape != weight.shape[:1]:
            raise UserError(
                f"{source}: no encoder of VGG-19's layout: features.{index}.weight is "
                f"{' x '.join(map(str, weight.shape))}, not N x {inputs} x 3 x 3 with N biases"
            )
        widths.append(len(weight))
    return tuple(widths)


def build_encoder(weights: Mapping[str, Tensor], source: str) -> Encoder:
    """The frozen encoder of those weights, float32 on the CPU; arguments and errors as above."""
    encoder = Encoder(widths_of(weights, source))
    encoder.load_state_dict({name: weights[name].float() for name in encoder.state_dict()})
    return encoder.requires_grad_(False).eval()


def _load(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file of encoder weights; {_WITHOUT}") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file}: no readable file of weights: {reason}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{file}: no file of weights by name")
    return loaded


def read_encoder(file: Path) -> Encoder:
    """An encoder from a file: safetensors, or what torch saves (weights alone are read).

    Raises:
        UserError: the file is missing, unreadable or of another layout.
    """
    return build_encoder(_load(file), str(file))


def encoder_from(data: bytes) -> Encoder:
    """The encoder that `Encoder.to_bytes` gave."""
    return build_encoder(load(data), "encoder")


def imagenet_encoder() -> Encoder:
    """The encoder with torchvision's ImageNet weights, downloaded to torch's cache at first use.

    Raises:
        UserError: they cannot be downloaded or are damaged.
    """
    # A second that runs without these weights save.
    from torchvision.models import VGG19_Weights  # noqa: PLC0415

    try:
        file = download(VGG19_Weights.IMAGENET1K_V1.url)
    except UserError as error:
        raise UserError(f"{error}, or name a file in raw/encoder; {_WITHOUT}") from error
    return read_encoder(file)
