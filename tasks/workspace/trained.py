"""A trained model on disk: what `train` or `network` leaves for the stages after it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images.stored import StoredTable
from atcore.networks.architecture import SPEC, ModelSpec
from tasks.workspace import paths
from tasks.workspace.card import card

CARD = "README.md"


def _bytes(path: Path, stage: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage {stage} first") from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file in front of what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Trained:
    """A trained network on its way to those who build it.

    Attributes:
        weights: content of the file that `spec.weights_file` names.
        file: where the weights lie.
    """

    spec: ModelSpec
    weights: bytes
    file: Path

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the file in front of what is wrong with the weights."""
        with _named(self.file):
            yield


def _misfit(spec: ModelSpec, images: StoredTable, dataset: str) -> str | None:
    """Why a model cannot be shown these images."""
    if len(spec.classes) != len(images.classes):
        return f"of {len(spec.classes)} classes, but {dataset} has {len(images.classes)}"
    for number, (name, other) in enumerate(zip(spec.classes, images.classes, strict=True)):
        if name != other:
            return f"whose class {number} is {name!r}, but in {dataset} it is {other!r}"
    size = images.images.shape[1]
    if spec.image_size != size:
        return f"of {spec.image_size} px images, but those of {dataset} have {size} px"
    return None


def write(
    dataset: str,
    method: str,
    seed: int,
    spec: ModelSpec,
    weights: bytes,
    origin: Mapping[str, str],
) -> None:
    """Write the folder of a trained model atomically.

    Args:
        origin: what its card says of how it came to be.
    """
    with replacing(paths.model(dataset, method, seed)) as folder:
        folder.mkdir()
        (folder / spec.weights_file).write_bytes(weights)
        (folder / SPEC).write_text(spec.to_json())
        (folder / CARD).write_text(card(dataset, method, seed, spec, origin), "utf-8")


def read(dataset: str, method: str, seed: int, images: StoredTable, writer: str) -> Trained:
    """A trained model for these images. Whether the weights fit is seen where they are loaded.

    Args:
        writer: the stage that it comes from.

    Raises:
        UserError: a file is missing, or describes no model or one of other classes or another size
            of image; names the file.
    """
    folder = paths.model(dataset, method, seed)
    description = folder / SPEC
    text = _bytes(description, writer)
    with _named(description):
        spec = ModelSpec.from_json(text.decode(errors="replace"))
        misfit = _misfit(spec, images, dataset)
        if misfit is not None:
            raise UserError(f"a model {misfit}; run the stage {writer} again")
    weights = folder / spec.weights_file
    return Trained(spec, _bytes(weights, writer), weights)


def validation_accuracy(dataset: str, method: str, seed: int) -> float:
    """Clean validation accuracy that a method reached with a seed."""
    text = _bytes(paths.training(dataset, method, seed), "train")
    return float(json.loads(text)["validation_accuracy"])
