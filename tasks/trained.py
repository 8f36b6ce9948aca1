"""A trained model on disk: what `train` leaves for the stages after it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atcore.errors import UserError
from atcore.files import replacing
from atcore.images.table import ImageTable
from atcore.models import ModelSpec, load
from tasks import paths

WEIGHTS, SPEC = "model.safetensors", "model.json"
_NAMED = 3


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


def _shown(classes: tuple[str, ...]) -> str:
    more = ", ..." if len(classes) > _NAMED else ""
    return f"{len(classes)} classes ({', '.join(classes[:_NAMED])}{more})"


def write(dataset: str, method: str, spec: ModelSpec, weights: bytes) -> None:
    """Write the folder of a trained model atomically."""
    with replacing(paths.model(dataset, method)) as folder:
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(weights)
        (folder / SPEC).write_text(spec.to_json())


def read(dataset: str, method: str, images: ImageTable) -> tuple[ModelSpec, bytes]:
    """Architecture and weights (safetensors) of a trained model, fit for these images.

    Raises:
        UserError: a file is missing, is no model's, or is that of other classes or another size of
            image; names the file.
    """
    description, weights = (paths.model(dataset, method) / name for name in (SPEC, WEIGHTS))
    text, tensors = _bytes(description, "train"), _bytes(weights, "train")
    with _named(description):
        spec = ModelSpec.from_json(text.decode(errors="replace"))
        if spec.classes != images.classes:
            raise UserError(
                f"a model of {_shown(spec.classes)}, but {dataset} has {_shown(images.classes)}; "
                "run the stage train again"
            )
        if spec.image_size != images.images.shape[1]:
            raise UserError(
                f"a model of {spec.image_size} px images, but those of {dataset} have "
                f"{images.images.shape[1]} px; run the stage train again"
            )
    with _named(weights):
        load(spec, tensors)
    return spec, tensors


def validation_accuracy(dataset: str, method: str) -> float:
    """Clean validation accuracy that a method reached."""
    text = _bytes(paths.training(dataset, method), "train")
    return float(json.loads(text)["validation_accuracy"])
