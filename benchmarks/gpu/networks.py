"""Trains the methods one after the other, and asks each network everything that a report shows."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from atcore.base.files import replacing, write_text
from atcore.evaluation import predictions
from atcore.evaluation.asking import predict
from atcore.evaluation.predictions import ATTACKS, Predictions, joined
from atcore.images.pixels import channel_statistics
from atcore.images.stored import StoredTable
from atcore.images.table import CLEAN, slices
from atcore.networks.architecture import SPEC, ModelSpec
from atcore.networks.folding import load_folded
from atcore.networks.models import weights_to_bytes
from atcore.salience import measured as measures
from atcore.salience.explain import explain, untrained_network
from atcore.salience.maps import MapSettings
from atcore.salience.rows import Row
from atcore.training.data import splits
from atcore.training.loop import train, trained_weights
from atcore.training.progress import Progress
from benchmarks.gpu.settings import DATASET, evaluation_attacks, number, training_spec
from benchmarks.gpu.workspace import Variants

# Of a GPU's free memory that a batch of evaluation may fill, and what an image takes of it: that of
# ResNet-18 at 32 px under attack, in float32.
_SHARE, _BYTES_PER_IMAGE = 0.25, 8 * 2**20
_LARGEST, _ON_CPU = 2000, 100
_SPLITS = ("train", "validation")
Tell = Callable[[str], None]


class OutOfTimeError(Exception):
    """The next epoch would end too late; the checkpoint of the last one is there."""


def model_spec(out: Path, params: dict[str, Any]) -> ModelSpec:
    images = StoredTable(out / "data" / DATASET / "train.arrow")
    mean, std = channel_statistics(torch.from_numpy(part.images) for part in images.verified())
    settings = params["dataset"][DATASET]
    architecture = settings["training"]["architecture"]
    return ModelSpec(architecture, images.classes, settings["image_size"], mean, std)


def _write_network(out: Path, method: str, model: ModelSpec, progress: Progress) -> None:
    curves = out / "curves" / DATASET / method
    curves.mkdir(parents=True, exist_ok=True)
    write_text(curves / "0.csv", progress.curve())
    write_text(curves / "0.json", progress.summary(method, None))
    weights = weights_to_bytes(trained_weights(progress.checkpoint, model))
    with replacing(out / "models" / DATASET / method / "0") as folder:
        folder.mkdir()
        (folder / model.weights_file).write_bytes(weights)
        (folder / SPEC).write_text(model.to_json())


def train_network(
    out: Path, params: dict[str, Any], method: str, device: torch.device, end: float, tell: Tell
) -> list[float]:
    """Train a method, from the last checkpoint if there is one.

    Args:
        end: `time.monotonic` after which no epoch is begun that would not be over by then.

    Returns:
        Seconds of each epoch, with validation and checkpoint.

    Raises:
        OutOfTimeError: the training is not over.
    """
    spec, model = training_spec(params, method), model_spec(out, params)
    tables = [StoredTable(out / "data" / DATASET / f"{name}.arrow") for name in _SPLITS]
    own = splits(tables, device, number(params["ray"]["gpu_share"]))
    saved = out / ".checkpoints" / f"{method}.pt"
    checkpoint = saved.read_bytes() if saved.exists() else None
    seconds: list[float] = []
    started = time.monotonic()
    for progress in train(spec, model, *own, checkpoint=checkpoint, device=device):
        with replacing(saved) as file:
            file.write_bytes(progress.checkpoint)
        seconds.append(time.monotonic() - started)
        started = time.monotonic()
        epoch = progress.history[-1]
        robust = epoch.validation_robust_accuracy
        tell(
            f"{method}: epoch {epoch.number} of {spec.epochs}, {seconds[-1]:.2f} s, loss "
            f"{epoch.loss:.3f}, validation {epoch.validation_accuracy:.3f}"
            + ("" if robust is None else f", robust {robust:.3f}")
        )
        if progress.finished is None and started + 1.2 * min(seconds) > end:
            raise OutOfTimeError(f"{method} after epoch {epoch.number}")
    _write_network(out, method, model, progress)
    return seconds


def _batch(device: torch.device) -> int:
    if device.type != "cuda":
        return _ON_CPU
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(_LARGEST, int(_SHARE * free) // _BYTES_PER_IMAGE))


def _read(out: Path, method: str) -> tuple[ModelSpec, bytes]:
    folder = out / "models" / DATASET / method / "0"
    model = ModelSpec.from_json((folder / SPEC).read_text())
    return model, (folder / model.weights_file).read_bytes()


def evaluate(
    out: Path, params: dict[str, Any], method: str, variants: Variants, device: torch.device
) -> dict[str, float]:
    """Write a network's answers on all test images; returns accuracies by variant and level."""
    test, size = StoredTable(out / "data" / DATASET / "test.arrow"), _batch(device)
    network = load_folded(*_read(out, method), str(device))
    seed = params["run"]["seed"]

    def ask(images: StoredTable, name: str, level: float, attack: Any = None) -> Predictions:
        (whole,) = joined(
            predict(
                network,
                images.rows(rows),
                variant=name,
                level=level,
                attack=attack,
                seed=seed,
                device=str(device),
            )
            for rows in slices(len(images), size)
        )
        return whole

    def answers() -> Iterator[Predictions]:
        yield ask(test, CLEAN, 0.0)
        for norm, attack in evaluation_attacks(params):
            yield ask(test, ATTACKS[norm], float(attack.threat.eps), attack)
        for name, level, table in variants.tables():
            yield ask(table, name, level)

    found = list(answers())
    file = out / "predictions" / DATASET / method / "0.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    predictions.write(found, test.classes, file)
    return {f"{p.variant} {p.level:g}".strip(): float(p.correct.mean()) for p in found}


def show(
    out: Path, params: dict[str, Any], method: str, variants: Variants, device: torch.device
) -> None:
    """Write a network's salience maps and what they measure."""
    test = StoredTable(out / "data" / DATASET / "test.arrow")
    model, weights = _read(out, method)
    settings, seed = params["salience"], params["run"]["seed"]
    counts = settings["measured"]
    chosen = test.evenly(max(counts.values()))
    rows, tables = [Row(CLEAN, 0.0, moved=False)], [test.rows(chosen)]
    for name, level, table in variants.tables():
        moved = params["variant"][name]["kind"] == "patch_shuffled"
        rows.append(Row(name, level, moved=moved))
        tables.append(table.rows(chosen))
    found = explain(
        load_folded(model, weights, str(device)),
        untrained_network(model, weights, seed, str(device)),
        rows,
        tables,
        counts,
        MapSettings(
            samples=settings["smooth_samples"],
            noise=settings["smooth_noise"],
            steps=settings["integration_steps"],
            baseline=model.mean,
            seed=seed,
        ),
        str(device),
    )
    shown = settings["images"]
    tensors: dict[str, NDArray[Any]] = {kind: maps[:, :shown] for kind, maps in found.maps.items()}
    tensors |= {
        "predicted": found.predicted[:, :shown],
        "images": torch.stack([torch.from_numpy(t.images[:shown].copy()) for t in tables]).numpy(),
        "labels": tables[0].labels[:shown],
    }
    named = json.dumps([{"variant": row.variant, "level": row.level} for row in rows])
    with replacing(out / "salience" / DATASET / method / "0") as folder:
        folder.mkdir()
        (folder / "maps.safetensors").write_bytes(
            save({name: tensor.copy() for name, tensor in tensors.items()}, {"rows": named})
        )
        measures.write(measures.joined(found.measured), folder / "measures.parquet")
