"""Whether weights fit a network, and what they would fit instead."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

from atcore.base.wording import some
from atcore.foreign.architectures import candidates
from atcore.foreign.given import Given
from atcore.networks.models import OURS

# Sides of images that networks with a position for each patch are trained on.
_SIDES = (32, 64, 96, 128, 160, 192, 224, 240, 256, 288, 320, 384, 448, 512)


@dataclass(frozen=True)
class Misfit:
    """How weights differ from those of a network.

    Attributes:
        missing, unexpected: names.
        shapes: `name (theirs, not ours)`.
        outputs: what both have, but for this number of outputs; None where more differs.
    """

    missing: list[str]
    unexpected: list[str]
    shapes: list[str]
    outputs: int | None

    @property
    def distance(self) -> int:
        """How many tensors differ."""
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    @property
    def sentence(self) -> str:
        parts = {"missing": self.missing, "unexpected": self.unexpected, "shapes": self.shapes}
        return "; ".join(f"{kind}: {some(names)}" for kind, names in parts.items() if names)


def misfit(network: nn.Module, tensors: dict[str, Tensor], outputs: int) -> Misfit | None:
    """How the weights differ from those of a network with so many outputs; None if they fit."""
    own = network.state_dict()
    # Counted, but never read; files of before 2018 lack them.
    missing = [k for k in own if k not in tensors and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in tensors if k not in own]
    other = [k for k in own if k in tensors and own[k].shape != tensors[k].shape]
    if not (missing or unexpected or other):
        return None
    counts = {
        tensors[k].shape[0] if own[k].shape == (outputs, *tensors[k].shape[1:]) else None
        for k in other
        if tensors[k].dim()
    }
    count = counts.pop() if len(counts) == 1 and not (missing or unexpected) else None
    shapes = [f"{k} ({list(tensors[k].shape)}, not {list(own[k].shape)})" for k in other]
    return Misfit(missing, unexpected, shapes, count)


def load_into(network: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """The network with these weights, which fit, in eval mode."""
    state = network.state_dict()  # with the versions of its modules, which some ask for
    state.update(tensors)
    network.load_state_dict(state)
    return network.requires_grad_(False).eval()


def _tried(given: Given, size: int, outputs: int, device: str) -> Iterator[tuple[str, nn.Module]]:
    """The networks of an architecture, each with its label; on `meta` without their weights."""
    for candidate in candidates(given, size):
        try:
            with torch.device(device):
                network = candidate.build(outputs)
        except Exception:  # it computes with what it draws, or is not for images of this size
            continue
        yield candidate.label, network


def _fits(network: nn.Module, tensors: dict[str, Tensor], outputs: int) -> bool:
    """Whether the weights are those of a network, but perhaps for their number of outputs."""
    wrong = misfit(network, tensors, outputs)
    return wrong is None or wrong.outputs is not None


def other_size(given: Given, tensors: dict[str, Tensor], wrong: Misfit, outputs: int) -> int | None:
    """Another side of images at which weights fit the architecture.

    Args:
        wrong: how they do not at the present one; where nothing but positions differs, by name,
            there may be one.
    """
    if wrong.missing or wrong.unexpected or not any("pos" in shape for shape in wrong.shapes):
        return None
    for side in _SIDES:
        tried = _tried(given, side, outputs, "cpu")
        if any(_fits(network, tensors, outputs) for _, network in tried):
            return side
    return None


def closest(tensors: dict[str, Tensor], size: int, outputs: int) -> str | None:
    """The architecture of this project or of torchvision that weights fit, but for the outputs.

    Of a family, such as all that begin with `resnet`, the first one says whether the others can.
    """
    import torchvision  # noqa: PLC0415
    from torchvision.models import list_models  # noqa: PLC0415

    families = [[name] for name in OURS]
    names = sorted(list_models(torchvision.models))
    families += [list(group) for _, group in groupby(names, lambda name: name[:4])]
    for family in families:
        for name in family:
            known: set[str] = set()
            for label, network in _tried(Given("", Path(), name), size, outputs, "meta"):
                if _fits(network, tensors, outputs):
                    return label
                known |= network.state_dict().keys()
            if len(known & tensors.keys()) < len(tensors) / 4:
                break
    return None
