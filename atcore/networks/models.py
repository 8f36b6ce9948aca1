"""The networks, all of which take pixels in [0, 1] and normalise them inside.

Normalisation belongs to the model so that eps, step size and the pixel range keep their meaning
wherever an input gradient is taken.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.images.pixels import Channels
from atcore.networks import programs
from atcore.networks.architecture import PROGRAM, ModelSpec
from atcore.networks.averaging import GlobalAverage
from atcore.networks.preactivated import preact_resnet18, wide_resnet
from atcore.networks.vgg import NARROW, features


class _Normalise(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Channels, std: Channels) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        # Of the size of an image: numbers that are repeated for every pixel are slow to work with.
        mean, std = (torch.empty_like(x[:1]).copy_(each) for each in (self.mean, self.std))
        return (x - mean) / std


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
        # In place, as on a CPU it is memory that takes the time.
        x = torch.relu_(self.first(x))
        return torch.relu_(self.residual(x).add_(x))


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
        GlobalAverage(),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def _torchvision(name: str, classes: int, image_size: int) -> nn.Module:
    # A second that the runs without these networks save in each of their processes.
    import torchvision  # noqa: PLC0415
    from torchvision.models import ResNet, get_model, list_models  # noqa: PLC0415

    options: dict[str, Any] = {"num_classes": classes}
    if name.startswith("vit_"):
        options["image_size"] = image_size
    if name in ("googlenet", "inception_v3"):
        # Their further classifiers, with losses of their own, are no part of the network.
        options |= {"aux_logits": False, "init_weights": True}
    if name not in list_models(torchvision.models):
        raise UserError(f"architecture: {name!r} is neither of this project nor of torchvision")
    network: nn.Module = get_model(name, weights=None, **options)
    if isinstance(network, ResNet) and image_size < 64:
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
        GlobalAverage(),
        nn.Flatten(),
        nn.Linear(256, classes),
    )


# By name, of the number of classes.
OURS: dict[str, Callable[[int], nn.Module]] = {
    "small": _small,
    "vgg": _vgg,
    "preact_resnet18": preact_resnet18,
    "wide_resnet28_10": partial(wide_resnet, depth=28, width=10),
    "wide_resnet34_10": partial(wide_resnet, depth=34, width=10),
}


def bare(architecture: str, classes: int, image_size: int) -> nn.Module:
    """A freshly initialised network that takes normalised pixels, float32 N x 3 x H x W.

    Raises:
        UserError: the architecture is unknown.
    """
    if architecture in OURS:
        return OURS[architecture](classes)
    return _torchvision(architecture, classes, image_size)


def normalising(network: nn.Module, mean: Channels, std: Channels) -> nn.Module:
    """A network that takes pixels in [0, 1], of one that takes normalised ones."""
    return nn.Sequential(_Normalise(mean, std), network)


def build(spec: ModelSpec) -> nn.Module:
    """A freshly initialised network: float32 N x 3 x H x W in [0, 1] to N x classes logits.

    Weights come from torch's global generator; seed it first where they must be reproducible.

    Raises:
        UserError: the architecture is unknown, or takes no images of this size.
    """
    network = bare(spec.architecture, len(spec.classes), spec.image_size)
    return normalising(network, spec.mean, spec.std)


def require_trainable(spec: ModelSpec, last_batch: int) -> None:
    """Check that the network takes images of its size, also as few as the last batch of an epoch.

    Raises:
        UserError: it does not.
    """
    named = f"architecture: {spec.architecture!r} is not allowed for images of {spec.image_size} px"
    images = torch.zeros(min(last_batch, 2), 3, spec.image_size, spec.image_size)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            model = build(spec)
            model.eval()(images)
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{named} ({reason}); give larger ones, or resnet18") from error
        try:
            model.train()(images)
        except ValueError as error:  # a normalisation over a single number
            raise UserError(
                f"{named} and a last batch of {last_batch}: its last feature maps are of one pixel "
                "then; give larger images, another batch_size, or resnet18"
            ) from error


def weights_to_bytes(model: nn.Module) -> bytes:
    """The weights in safetensors format; equal weights give equal bytes."""
    return save_tensors({k: v.cpu().contiguous() for k, v in model.state_dict().items()})


def load(spec: ModelSpec, weights: bytes, device: torch.device | str = "cpu") -> nn.Module:
    """Rebuild a trained network on `device`, in eval mode and with frozen weights.

    Args:
        weights: content of the file that `spec.weights_file` names.

    Raises:
        UserError: the bytes are no such file, or do not fit the architecture.
    """
    if spec.architecture == PROGRAM:
        return programs.load(weights, device)
    model = build(spec)
    try:
        loaded = load_tensors(weights)
        # With the versions of its modules, which MNASNet asks for.
        state = model.state_dict()
        for name in state.keys() - loaded.keys():
            del state[name]
        state.update(loaded)
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"model weights do not fit {spec.architecture}: {reason}") from error
    model.requires_grad_(False)
    return model.eval().to(device).to(memory_format=torch.channels_last)
