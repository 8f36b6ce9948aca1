"""From what a user gives to a network of this project."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from atcore.base.errors import UserError
from atcore.foreign import diagnosis
from atcore.foreign.checks import require_as_recorded, require_sound
from atcore.foreign.converting import answering, converted
from atcore.foreign.files import find
from atcore.foreign.found import Found, Normalisation
from atcore.foreign.given import Facts, Given
from atcore.foreign.named import read_weights
from atcore.foreign.outputs import outputs, wrong_count
from atcore.foreign.programs import read_program
from atcore.images.pixels import channel_statistics, to_pixels
from atcore.networks import programs
from atcore.networks.architecture import PROGRAM, ModelSpec
from atcore.networks.models import load, normalising, weights_to_bytes

# Images of the checks: more than one, few enough for large networks.
_CHECKED = 8


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


def _normalisation(given: Given, found: Found) -> Normalisation | None:
    """What pixels are normalised with, by params.yaml or by the file.

    Raises:
        UserError: these differ.
    """
    if given.mean is None or given.std is None:
        return found.normalisation
    asked = (given.mean, given.std)
    if found.normalisation is None:
        return asked
    for kind, mine, theirs in zip(("mean", "std"), asked, found.normalisation, strict=True):
        if any(abs(a - b) > 1e-4 for a, b in zip(mine, theirs, strict=True)):
            values = ", ".join(f"{value:.4g}" for value in theirs)
            raise UserError(
                f"network.{given.name}.{kind}: {list(mine)}, but its file has [{values}]; leave "
                "mean and std null to take those"
            )
    return found.normalisation


@torch.random.fork_rng(devices=[])
def take_in(given: Given, classes: tuple[str, ...], images: Tensor, labels: Tensor) -> Taken:
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
    file, image_size = find(given), images.shape[1]
    if given.architecture is None:
        found = read_program(given, file, image_size)
    else:
        found = read_weights(given, file, image_size, classes)
    normalisation = _normalisation(given, found)
    network, count, picked = answering(found.network, found.size, str(file))
    named = outputs(given, found.classes, classes)
    if count != len(named.names):
        raise wrong_count(given, file, count, len(named.names))
    as_it_is = found.size == image_size and named.are_the_classes and picked is None
    if as_it_is and found.ours is not None and normalisation is not None:
        spec = ModelSpec(found.ours, classes, image_size, *normalisation)
        weights = weights_to_bytes(normalising(network, *normalisation))
    else:
        spec = ModelSpec(PROGRAM, classes, image_size, *channel_statistics([images]))
        if as_it_is and found.program is not None and normalisation is None:
            weights = found.program
        else:
            weights = converted(network, found.size, image_size, normalisation, named, str(file))
    final = load(spec, weights)
    shown = to_pixels(images[:_CHECKED])
    require_sound(final, shown, len(classes), str(file))
    if spec.architecture == PROGRAM:
        recorded = programs.module(programs.read(weights))
        require_as_recorded(final, recorded, shown, str(file))
    remarks = [*found.remarks, *([picked] if picked else []), *named.remarks]
    if found.size != image_size:
        remarks.append(f"Images are resized to {found.size} px inside it.")
    order = classes if named.are_the_classes else None
    remarks.append(diagnosis.remark(final, normalisation, order, images, labels))
    parameters = sum(parameter.numel() for parameter in found.network.parameters())
    return Taken(spec, weights, Facts(file.name, found.label, parameters, tuple(remarks)))
