"""From what a user gives to a network of this project."""

from dataclasses import dataclass, field

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from atcore.base.errors import UserError
from atcore.foreign.given import Facts, Given
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import load


@dataclass(frozen=True)
class Taken:
    """A network of the user's as this project's networks are.

    Attributes:
        weights: content of the file that `spec.weights_file` names.
        facts: what the report says of it.
    """

    spec: ModelSpec
    weights: bytes = field(repr=False)
    facts: Facts


def take_in(given: Given, classes: tuple[str, ...], images: Tensor, labels: Tensor) -> Taken:  # noqa: ARG001
    """Read, check and convert a network of the user's.

    Args:
        classes: of the dataset, in the order of the labels.
        images: uint8 N x S x S x 3, of the dataset's validation images, a few hundred of all
            classes; what the network answers to them is a remark.
        labels: int64, N.

    Raises:
        UserError: a file is missing, damaged or none that is read without running code in it; the
            weights fit no architecture, or not the one that is named; a check fails.
    """
    file = given.folder / f"{given.name}.safetensors"
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    try:
        tensors = load_tensors(file.read_bytes())
    except SafetensorError as error:
        raise UserError(f"{file}: no safetensors file ({error})") from error
    assert given.architecture is not None
    assert given.mean is not None
    assert given.std is not None
    spec = ModelSpec(given.architecture, classes, images.shape[1], given.mean, given.std)
    weights = save_tensors(tensors)
    network = load(spec, weights)
    parameters = sum(p.numel() for p in network.parameters())
    return Taken(spec, weights, Facts(file.name, given.architecture, parameters, ()))
