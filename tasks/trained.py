"""A trained model on disk: what `train` leaves for the stages after it."""

import json
from pathlib import Path

from atcore.errors import UserError
from atcore.files import replacing
from atcore.models import ModelSpec
from tasks import paths

WEIGHTS, SPEC = "model.safetensors", "model.json"


def _bytes(path: Path, stage: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage {stage} first") from error


def write(dataset: str, method: str, seed: int, spec: ModelSpec, weights: bytes) -> None:
    """Write the folder of a trained model atomically."""
    with replacing(paths.model(dataset, method, seed)) as folder:
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(weights)
        (folder / SPEC).write_text(spec.to_json())


def read(dataset: str, method: str, seed: int) -> tuple[ModelSpec, bytes]:
    """Architecture and weights (safetensors) of a trained model."""
    folder = paths.model(dataset, method, seed)
    spec = ModelSpec.from_json(_bytes(folder / SPEC, "train").decode())
    return spec, _bytes(folder / WEIGHTS, "train")


def validation_accuracy(dataset: str, method: str, seed: int) -> float:
    """Clean validation accuracy that a method reached with a seed."""
    text = _bytes(paths.training(dataset, method, seed), "train")
    return float(json.loads(text)["validation_accuracy"])
