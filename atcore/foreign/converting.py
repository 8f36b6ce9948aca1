"""Any network as one of this project: pixels in [0, 1] of the dataset's size to its classes."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.foreign.outputs import Grouped, Outputs
from atcore.images.pixels import Channels
from atcore.networks import programs
from atcore.networks.models import normalising

# Under which networks give their logits beside other things.
_FIELDS = ("logits", "output", "out", "outputs", "pred", "preds", "predictions")


class _Resized(nn.Module):
    """Images of another side, bilinear and smoothed before they shrink; gradients pass."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.size = (side, side)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, mode="bilinear", antialias=True, align_corners=False)


class _Field(nn.Module):
    """One of several things that a network gives."""

    def __init__(self, network: nn.Module, field: str | int) -> None:
        super().__init__()
        self.network, self.field = network, field

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x)[self.field]
        return found


class _Float32(nn.Module):
    """Logits in the precision that all is computed with here."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits.float()


def _fields(answers: Any) -> list[tuple[str | int, Any]]:
    if isinstance(answers, Mapping):
        first = [name for name in _FIELDS if name in answers]
        return [(name, answers[name]) for name in dict.fromkeys([*first, *answers])]
    return list(enumerate(answers)) if isinstance(answers, list | tuple) else []


def answering(network: nn.Module, size: int, where: str) -> tuple[nn.Module, int, str | None]:
    """A network that gives logits alone, float32, how many, and what of this it did not itself.

    Args:
        size: side in pixels of the images that it takes.
        where: what a message on it begins with.

    Raises:
        UserError: it takes no such images, or gives nothing of a row for each.
    """
    count = 2
    try:
        with torch.no_grad():
            answers = network(torch.zeros(count, 3, size, size))
    except Exception as error:  # whatever networks do with images that they are not made for
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{where}: takes no images of {size} px ({reason}); give the side that it takes as "
            "input_size"
        ) from error
    kind = type(answers).__name__
    whole: list[tuple[str | int | None, Any]] = [(None, answers)]
    for field, found in whole if isinstance(answers, Tensor) else _fields(answers):
        if isinstance(found, Tensor) and found.dim() == 2 and len(found) == count:
            said = []
            if field is not None:
                network = _Field(network, field)
                said.append(f"Its answers are {field!r} of the {kind} that it gives.")
            if found.dtype != torch.float32:
                network = nn.Sequential(network, _Float32())
                precision = str(found.dtype).removeprefix("torch.")
                said.append(f"Its answers are of {precision} and become float32.")
            return network.eval(), found.shape[1], " ".join(said) or None
    if isinstance(answers, Tensor):
        raise UserError(
            f"{where}: gives {list(answers.shape)} for {count} images, not {count} x outputs"
        )
    raise UserError(f"{where}: gives a {kind} without logits, {count} x outputs; return them alone")


def converted(
    network: nn.Module,
    size: int,
    image_size: int,
    normalisation: tuple[Channels, Channels] | None,
    outputs: Outputs,
    where: str,
) -> bytes:
    """The program of a network with all that it needs around it.

    Args:
        network: float32 N x 3 x `size` x `size` to N x outputs.
        image_size: side of the dataset's images.
        normalisation: mean and standard deviation that it expects; None where it needs none.

    Raises:
        UserError: torch.export cannot record it.
    """
    if normalisation is not None:
        network = normalising(network, *normalisation)
    before = [] if size == image_size else [_Resized(size)]
    after = [] if outputs.are_the_classes else [Grouped(outputs.members)]
    whole = nn.Sequential(*before, network, *after) if before or after else network
    try:
        return programs.write(whole.eval(), image_size)
    except Exception as error:  # torch.export's many ways to say so
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{where}: torch.export cannot record it ({reason}); what it does must not depend on "
            "the values of pixels"
        ) from error
