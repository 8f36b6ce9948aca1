"""Weights as the network of the architecture that the user names."""

from pathlib import Path

from torch import nn

from atcore.base.errors import UserError
from atcore.foreign.architectures import Candidate, candidates
from atcore.foreign.fitting import Misfit, closest, load_into, misfit, other_size
from atcore.foreign.found import Found
from atcore.foreign.given import Given
from atcore.foreign.outputs import outputs, wrong_count
from atcore.foreign.weights import Weights, read
from atcore.foreign.wrappings import unwrapped


def _built(candidate: Candidate, outputs: int, size: int, key: str) -> nn.Module:
    try:
        return candidate.build(outputs)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{key}.architecture: {candidate.label} is not for images of {size} px ({reason}); "
            f"{key}.input_size says which it takes"
        ) from error


def read_weights(given: Given, file: Path, image_size: int, classes: tuple[str, ...]) -> Found:
    """The network of the architecture that is named, with the weights of its file.

    Args:
        image_size: side in pixels of the dataset's images.
        classes: of the dataset.

    Raises:
        UserError: the file is damaged or would run code when it is loaded; the architecture is
            unknown, or the weights are of another one, of another size or of other outputs.
    """
    weights, key = read(file), f"network.{given.name}"
    size = given.input_size or image_size
    expected = len(outputs(given, weights.classes, classes).names)
    near: tuple[Misfit, Weights] | None = None
    for candidate in candidates(given, size):
        network = _built(candidate, expected, size, key)
        for taken in unwrapped(weights):
            differs = misfit(network, taken.tensors, expected)
            if differs is None:
                return Found(
                    load_into(network, taken.tensors),
                    candidate.label,
                    size,
                    taken.normalisation,
                    taken.classes,
                    taken.remarks,
                    ours=given.architecture if candidate.ours else None,
                )
            if differs.outputs is not None:
                raise wrong_count(given, file, differs.outputs, expected)
            if near is None or differs.distance < near[0].distance:
                near = differs, taken
    assert near is not None
    wrong, nearest = near
    side = other_size(given, nearest.tensors, wrong, expected)
    if side is not None:
        raise UserError(
            f"{key}.input_size: {file.name} is for images of {side} px, not of {size}; "
            f"input_size: {side} has them resized inside the network"
        )
    other = closest(nearest.tensors, size, expected)
    hint = f"they fit {other}" if other else "no architecture of this project or torchvision fits"
    raise UserError(
        f"{key}.architecture: the weights of {file.name} are not those of {given.architecture} "
        f"({wrong.sentence}); {hint}"
    )
