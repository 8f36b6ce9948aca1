"""The networks, all of which take pixels in [0, 1] and normalise them inside.

Normalisation belongs to the model so that eps, step size and the pixel range keep their meaning
wherever an input gradient is taken.
"""

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.networks.architecture import ARCHITECTURES, ModelSpec
from atcore.networks.vgg import NARROW, features


class _Normalise(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def _conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
    )


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _conv_bn(inputs, outputs)
        self.residual = _conv_bn(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return torch.relu(x + self.residual(x))


def _small(classes: int) -> nn.Module:
    """Residual CNN of widths 32 and 64 for 32 px images: a minute on two CPU cores.

    It begins by taking squares of four pixels for one of twelve channels, which saves the layers
    on which a CPU is slowest: few channels at full size, and convolutions of stride 2.
    """
    return nn.Sequential(
        nn.PixelUnshuffle(2),
        _ResidualBlock(12, 32),
        nn.MaxPool2d(2),
        _ResidualBlock(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def _resnet18(classes: int, image_size: int) -> nn.Module:
    # A second that the runs without this network save in each of their processes.
    from torchvision.models import resnet18  # noqa: PLC0415

    network: nn.Module = resnet18(num_classes=classes)
    if image_size < 64:
        # The ImageNet stem would leave a 32 px image 8 px wide before the first block.
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    return network


def _vgg(classes: int) -> nn.Module:
    """Narrow VGG-19 up to relu4_1, normalised, and one block more: what encoders come from."""
    return nn.Sequential(
        features(NARROW, normalised=True),
        nn.MaxPool2d(2),
        _conv_bn(NARROW[-1], 256),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, classes),
    )


def build(spec: ModelSpec) -> nn.Module:
    """A freshly initialised network: float32 N x 3 x H x W in [0, 1] to N x classes logits.

    Weights come from torch's global generator; seed it first where they must be reproducible.

    Raises:
        UserError: the architecture is unknown.
    """
    if spec.architecture == "small":
        network = _small(len(spec.classes))
    elif spec.architecture == "resnet18":
        network = _resnet18(len(spec.classes), spec.image_size)
    elif spec.architecture == "vgg":
        network = _vgg(len(spec.classes))
    else:
        allowed = ", ".join(ARCHITECTURES)
        raise UserError(f"architecture: {spec.architecture!r} is unknown; allowed: {allowed}")
    return nn.Sequential(_Normalise(spec.mean, spec.std), network)


def pooling(model: nn.Module) -> nn.Module:
    """The global average pooling of a network of `build`, folded or not.

    What goes into it are the last feature maps: those of the last residual block, a quarter of the
    image's side with `small`, of `layer4` with `resnet18`, an eighth below 64 px and else a 32nd; a
    16th with `vgg`.
    """
    return next(m for m in model.modules() if isinstance(m, nn.AdaptiveAvgPool2d))


def weights_to_bytes(model: nn.Module) -> bytes:
    """The weights in safetensors format; equal weights give equal bytes."""
    return save_tensors({k: v.cpu().contiguous() for k, v in model.state_dict().items()})


def load(spec: ModelSpec, weights: bytes, device: torch.device | str = "cpu") -> nn.Module:
    """Rebuild a trained network on `device`, in eval mode and with frozen weights.

    Raises:
        UserError: the bytes are no safetensors file or do not fit the architecture.
    """
    model = build(spec)
    try:
        model.load_state_dict(load_tensors(weights))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"model weights do not fit {spec.architecture}: {reason}") from error
    model.requires_grad_(False)
    return model.eval().to(device).to(memory_format=torch.channels_last)
