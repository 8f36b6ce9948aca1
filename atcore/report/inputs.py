"""What the report reads beside the prediction tables: how training went, and salience maps."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from atcore.base.errors import UserError
from atcore.evaluation.predictions import Predictions
from atcore.foreign.given import Facts
from atcore.report.records import Results
from atcore.salience.measured import Measured

# Tensors of a file of salience maps that are no maps.
_PLAIN = {"images", "predicted", "labels"}


@dataclass(frozen=True)
class Training:
    """How the training of one network ended, as `train` writes it.

    Attributes:
        finished: `epochs`, `accuracy` (stopped at the target) or `collapse`.
        epochs: trained in full or in part.
        target_accuracy: clean validation accuracy to stop at, or None.
        validation_accuracy, validation_robust_accuracy: 0 to 1; the second may be None.
        precision: `bf16` or `fp32`.
    """

    finished: str
    epochs: int
    target_accuracy: float | None
    validation_accuracy: float
    validation_robust_accuracy: float | None
    precision: str


@dataclass(frozen=True)
class Curve:
    """Learning curve: validation accuracies, 0 to 1, after epochs 1, 2, ..."""

    accuracy: tuple[float, ...]
    robust_accuracy: tuple[float | None, ...]


@dataclass(frozen=True)
class Maps:
    """Salience maps of one network on R rows (variants) of n images.

    Attributes:
        rows: variant and level of each row; the first is the clean one.
        images: uint8, R x n x H x W x 3.
        kinds: the maps by kind (see `atcore.salience.maps`), float32, R x n x H x W, non-negative.
        predicted: int32, R x n.
        labels: int32, n.
    """

    rows: tuple[tuple[str, float], ...]
    images: NDArray[np.uint8]
    kinds: Mapping[str, NDArray[np.float32]]
    predicted: NDArray[np.int32]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class Network:
    """One method of the report: networks that differ in the seed of their training alone.

    Or one network that was trained elsewhere, of whose training nothing is known.

    Attributes:
        method: its name; of the other kind, that of the network.
        adversarial: whether it trains on adversarial images.
        stop_at: the method whose accuracy it was stopped at, or None.
        trainings, curves: one for each seed; none of what was trained elsewhere.
        maps: of the first seed.
        facts: of what was trained elsewhere; else None.
    """

    method: str
    adversarial: bool
    stop_at: str | None
    trainings: tuple[Training, ...]
    curves: tuple[Curve, ...]
    maps: Maps
    facts: Facts | None = None

    @property
    def ordinary(self) -> bool:
        """Whether it was trained here, and on clean images."""
        return self.facts is None and not self.adversarial


@dataclass(frozen=True)
class Dataset:
    """Everything the report says about one dataset.

    Attributes:
        seeds: of the networks of each method, in the order of everything that is one per seed.
        counts: number of images per split.
        unreadable: names of the images that were left out.
        kinds: kind of each variant and attack that the results name.
        networks: in the order of tables and figures.
        answers: the prediction tables of each method, one for each of its seeds: all, or the one of
            what was trained elsewhere.
        salience: and the measures of its salience maps.
    """

    name: str
    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    counts: dict[str, int]
    unreadable: tuple[str, ...]
    kinds: dict[str, str]
    networks: tuple[Network, ...]
    results: Results
    answers: Mapping[str, Sequence[Sequence[Predictions]]]
    salience: Mapping[str, Sequence[Sequence[Measured]]]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UserError: the file holds something else.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object")
    return value


def read_facts(path: Path) -> Facts:
    """What the stage `network` wrote of a network.

    Raises:
        UserError: the file holds something else.
    """
    try:
        return Facts.from_json(path.read_text("utf-8"))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not what the stage network writes") from error


def read_training(path: Path) -> Training:
    values = read_json(path)
    return Training(**{name: values[name] for name in Training.__dataclass_fields__})


def read_curve(path: Path) -> Curve:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    robust = [row["validation_robust_accuracy"] for row in rows]
    return Curve(
        accuracy=tuple(float(row["validation_accuracy"]) for row in rows),
        robust_accuracy=tuple(float(value) if value else None for value in robust),
    )


def read_maps(path: Path) -> Maps:
    """Salience maps, without PyTorch.

    Raises:
        UserError: not a safetensors file.
    """
    try:
        with safe_open(path, framework="np") as file:
            rows = json.loads(file.metadata()["rows"])
            return Maps(
                rows=tuple((row["variant"], row["level"]) for row in rows),
                images=file.get_tensor("images"),
                kinds={
                    name: file.get_tensor(name)
                    for name in sorted(file.keys())
                    if name not in _PLAIN
                },
                predicted=file.get_tensor("predicted"),
                labels=file.get_tensor("labels"),
            )
    except SafetensorError as error:
        raise UserError(f"{path}: not a readable safetensors file: {error}") from error
