"""Networks by the name of their architecture."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from atcore.base.errors import UserError
from atcore.base.wording import some
from atcore.foreign.given import OWN, TIMM, Given
from atcore.networks.models import OURS, bare
from atcore.networks.preactivated import preact_resnet18

# Sides at which `models.bare` builds residual networks of torchvision with a stem for small images
# and with ImageNet's.
_SMALL, _LARGE = 32, 224


@dataclass(frozen=True)
class Candidate:
    """A network that weights may be of.

    Attributes:
        label: what a reader knows it by.
        build: of the number of outputs; initialised as it comes.
        ours: whether `models.bare` builds the same for images of the dataset's size.
    """

    label: str
    build: Callable[[int], nn.Module]
    ours: bool = False


def _timm(name: str, key: str, size: int) -> Callable[[int], nn.Module]:
    if importlib.util.find_spec("timm") is None:
        raise UserError(f"{key}: {TIMM}{name} needs a package: .venv/bin/pip install timm")
    from timm import create_model, is_model, list_models  # noqa: PLC0415

    if not is_model(name):
        near = get_close_matches(name, list_models(), 3)
        raise UserError(f"{key}: timm has no {name!r}{f'; near: {some(near)}' if near else ''}")

    def build(outputs: int) -> nn.Module:
        try:
            network: nn.Module = create_model(name, num_classes=outputs, img_size=size)
        except TypeError:  # those that take images of any size
            network = create_model(name, num_classes=outputs)
        return network

    return build


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"network_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names of their types
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _initialised(network: nn.Module, size: int) -> nn.Module:
    """The network with the weights that it makes when it first sees an image, as `LazyLinear`."""
    if any(is_lazy(each) for each in (*network.parameters(), *network.buffers())):
        with torch.no_grad():
            network.eval()(torch.zeros(2, 3, size, size))
    return network


def _own(file: Path, size: int) -> Callable[[int], nn.Module]:
    """What the user's function `network` builds."""
    if not file.is_file():
        raise UserError(f"{file}: no such file; it has a function network(classes: int)")

    def build(outputs: int) -> nn.Module:
        try:
            network = _module(file).network(outputs)
            if isinstance(network, nn.Module):
                return _initialised(network, size)
        except Exception as error:  # whatever the user's code does
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{file}: {type(error).__name__}: {reason}") from error
        kind = type(network).__name__
        raise UserError(f"{file}: network({outputs}) gives a {kind}, not a torch.nn.Module")

    return build


def candidates(given: Given, size: int) -> list[Candidate]:
    """The networks of the architecture that a user names, the likeliest first.

    Args:
        size: side in pixels of the images that they are to take.

    Raises:
        UserError: the architecture is unknown, or its package or file is missing.
    """
    name, key = given.architecture, f"network.{given.name}.architecture"
    assert name is not None
    if name == OWN:
        file = given.folder / f"{given.name}.py"
        return [Candidate(str(file), _own(file, size))]
    if name.startswith(TIMM):
        short = name.removeprefix(TIMM)
        return [Candidate(f"{short} (timm)", _timm(short, key, size))]
    # A second that whoever gives a program saves.
    import torchvision  # noqa: PLC0415
    from torchvision.models import list_models  # noqa: PLC0415

    known = [*OURS, *list_models(torchvision.models)]
    if name not in known:
        near = get_close_matches(name, known, 3)
        raise UserError(
            f"{key}: {name!r} is neither of this project nor of torchvision"
            f"{f'; near: {some(near)}' if near else ''}; of timm's write {TIMM}NAME, for code of "
            f"your own {OWN}"
        )
    source = "this project" if name in OURS else "torchvision"
    stems = {size: f"{name} ({source})"}
    if name.startswith(("resnet", "resnext", "wide_resnet")) and name not in OURS:
        stem, other = ("ImageNet's", _LARGE) if size < 64 else ("a small image's", _SMALL)
        stems[other] = f"{name} ({source}) with {stem} stem"
    found = [
        Candidate(label, partial(bare, name, image_size=side), ours=side == size)
        for side, label in stems.items()
    ]
    if name == "preact_resnet18":
        older = partial(preact_resnet18, older=True)
        found.append(Candidate(f"{name} (this project) as RobustBench has it by default", older))
    return found
