"""Stage `train` (and `train_control`): train one method on one dataset with one seed.

One worker trains in a plain Ray task and goes on from the last epoch after a kill or the loss of
the worker (`tasks.cluster.resumable`). Several workers train with Ray Train, which does the same
with a storage that all nodes share (`tasks.cluster.data_parallel`).
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from atcore.attacks.norms import threat_model
from atcore.attacks.pgd import PGD
from atcore.attacks.threats import ThreatModel
from atcore.base.errors import UserError
from atcore.base.files import write_text
from atcore.images.pixels import channel_statistics
from atcore.images.stored import StoredTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import weights_to_bytes
from atcore.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD, Pretrained, imagenet
from atcore.training.data import splits
from atcore.training.loop import Progress, train, trained_weights
from atcore.training.losses import CrossEntropy, Loss, Trades
from atcore.training.run import Epoch
from atcore.training.spec import TrainingSpec
from tasks import params
from tasks.cluster import pool
from tasks.cluster.resumable import run_name, states
from tasks.cluster.tables import SharedTable, shared
from tasks.console.progress import track
from tasks.workspace import paths, stage, trained
from tasks.workspace.code import deciding

# Madry et al. 2018 choose steps that together are 2.5 times as long as the radius.
_REACH = 2.5
# Zhang et al. 2019, algorithm 1.
_TRADES_START = 0.001


def _threat(attack: params.TrainingThreat, image_size: int) -> ThreatModel:
    """The threat model of a method on images of a side in pixels.

    At equal size per pixel an L2 norm grows with the side, so that a radius which is given at
    another side is scaled to this one.
    """
    eps = attack.eps if attack.at is None else attack.eps * image_size / attack.at
    return threat_model(attack.norm, eps, **attack.given("smoothness"))


def training_attack(method: params.Method, steps: int, image_size: int) -> PGD | None:
    """The attack of a method; `steps` is the dataset's number of PGD steps."""
    attack = method.attack
    if attack is None:
        return None
    threat = _threat(attack, image_size)
    if isinstance(attack, params.FreeAttack):
        return PGD(threat=threat, step_size=threat.eps, steps=1, random_start=False)
    if isinstance(attack, params.FgsmAttack):
        step_size = (attack.step_size or 1) * threat.eps
        start = bool(attack.random_start)
        return PGD(threat=threat, step_size=step_size, steps=1, random_start=start)
    deviation = _TRADES_START if isinstance(method.loss, params.TradesLoss) else None
    step_size = attack.step_size * threat.eps
    return PGD(threat=threat, step_size=step_size, steps=steps, start_deviation=deviation)


def validation_attack(method: params.Method, steps: int, image_size: int) -> PGD | None:
    """PGD in the threat model of a method, to watch its robustness while it trains."""
    if method.attack is None:
        return None
    threat = _threat(method.attack, image_size)
    return PGD(threat=threat, step_size=_REACH * threat.eps / steps, steps=steps)


def loss(method: params.Method) -> Loss:
    """What a method minimises."""
    if isinstance(method.loss, params.TradesLoss):
        return Trades(beta=method.loss.beta, **method.given("label_smoothing"))
    return CrossEntropy(**method.given("label_smoothing"))


def pretrained(settings: params.Params, dataset: str) -> Pretrained | None:
    """What every network of a dataset starts from, read here: a worker may have no internet."""
    if settings.dataset[dataset].training.weights != "imagenet":
        return None
    try:
        return imagenet()
    except UserError as error:
        raise UserError(
            f"dataset.{dataset}.training.weights: {error}; 'none' starts without"
        ) from error


def training_spec(settings: params.Params, dataset: str, method: str, seed: int) -> TrainingSpec:
    """How a method trains on a dataset, apart from what is read from elsewhere.

    Missing are the weights that it starts from and the accuracy that a control stops at.
    """
    chosen, data = settings.method[method], settings.dataset[dataset].training
    image_size = settings.dataset[dataset].image_size
    replays = chosen.attack.replays if isinstance(chosen.attack, params.FreeAttack) else None
    return TrainingSpec(
        epochs=math.ceil(data.epochs / (replays or 1)),
        batch_size=data.batch_size,
        learning_rate=chosen.learning_rate * data.learning_rate_factor,
        momentum=chosen.momentum,
        weight_decay=chosen.weight_decay,
        attack=training_attack(chosen, data.attack_steps, image_size),
        attack_mode=settings.training.attack_mode,
        validation_attack=validation_attack(chosen, settings.training.validation_steps, image_size),
        augment=data.augment,
        precision=data.precision,
        threads=data.threads,
        seed=seed,
        replays=replays,
        loss=loss(chosen),
        **chosen.given("eps_warmup", "schedule", "ema", "keep", "workers"),
    )


def _train_remotely(
    spec: TrainingSpec,
    model: ModelSpec,
    tables: Sequence[SharedTable],
    gpu_share: float,
    checkpoint: bytes | None,
) -> Iterator[Progress]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    own = splits([each.open() for each in tables], device, gpu_share)
    yield from train(spec, model, *own, checkpoint=checkpoint, device=device)


def _train_alone(
    spec: TrainingSpec,
    model: ModelSpec,
    tables: Sequence[SharedTable],
    gpu_share: float,
    saved: Path,
    show: Callable[[Epoch], None],
) -> Progress:
    arguments = (spec, model, tables, gpu_share)
    for progress in states(_train_remotely, *arguments, saved=saved, threads=spec.threads):
        show(progress.history[-1])
    return progress


def _curve(history: tuple[Epoch, ...]) -> str:
    buffer = io.StringIO()
    names = {"number": "epoch"}
    rows = [{names.get(k, k): v for k, v in asdict(epoch).items()} for epoch in history]
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _detail(epoch: Epoch) -> str:
    robust = epoch.validation_robust_accuracy
    shown = "" if robust is None else f", robust {robust:.3f}"
    accuracies = f"validation {epoch.validation_accuracy:.3f}{shown}"
    return f"loss {epoch.loss:.3f}, {accuracies}, {epoch.precision}"


def _explain_end(progress: Progress, spec: TrainingSpec) -> None:
    epoch, kept = len(progress.history), progress.kept.number
    if progress.finished == "collapse":
        print(f"collapse: robust validation accuracy fell in epoch {epoch}; kept epoch {kept}")
    elif spec.keep == "best_robust":
        print(f"kept epoch {kept} of {epoch}: the highest robust validation accuracy")
    elif progress.finished == "epochs" and spec.stop_at_accuracy is not None:
        reached = progress.history[-1].validation_accuracy
        print(
            f"never reached validation accuracy {spec.stop_at_accuracy:.3f}; ended at {reached:.3f}"
        )


def main(dataset: str, method: str, number: str) -> None:
    settings = params.load()
    settings.require(dataset=dataset, method=method)
    seed = params.seed(number)
    training, validation = (
        StoredTable(paths.split(dataset, name)) for name in ("train", "validation")
    )
    start = pretrained(settings, dataset)
    mean, std = (
        channel_statistics(torch.from_numpy(part.images) for part in training.verified())
        if start is None
        else (IMAGENET_MEAN, IMAGENET_STD)
    )
    model = ModelSpec(
        architecture=settings.dataset[dataset].training.architecture,
        classes=training.classes,
        image_size=validation.images.shape[1],
        mean=mean,
        std=std,
    )
    spec = replace(training_spec(settings, dataset, method, seed), start=start)
    reference = settings.method[method].stop_at
    if reference is not None:
        target = trained.validation_accuracy(dataset, reference, seed)
        spec = replace(spec, stop_at_accuracy=target)
    name = run_name((spec, model, training.digest, validation.digest), deciding("train"))
    with pool.connect(), track(f"train {dataset} {method} {seed}", spec.epochs) as advance:
        done = 0

        def show(epoch: Epoch) -> None:
            nonlocal done
            advance(epoch.number - done, _detail(epoch))
            done = epoch.number

        tables = [shared(each, settings.ray.cache) for each in (training, validation)]
        data = (tables, settings.ray.gpu_share)
        if spec.workers > 1:
            # A second that the runs without it save.
            from tasks.cluster.data_parallel import SharedRun, train_together  # noqa: PLC0415

            assert settings.ray.storage is not None
            run = SharedRun(settings.ray.storage, name)
            progress = train_together(spec, model, *data, run, show)
            forget = run.remove
        else:
            saved = paths.CHECKPOINTS / f"{name}.pt"
            progress = _train_alone(spec, model, *data, saved, show)
            forget = saved.unlink
    _explain_end(progress, spec)
    summary = {
        "method": method,
        "finished": progress.finished,
        "epochs": progress.kept.number,
        "target_accuracy": spec.stop_at_accuracy,
        "validation_accuracy": progress.kept.validation_accuracy,
        "validation_robust_accuracy": progress.kept.validation_robust_accuracy,
        "precision": progress.kept.precision,
    }
    weights = weights_to_bytes(trained_weights(progress.checkpoint, model))
    write_text(paths.curve(dataset, method, seed), _curve(progress.history))
    write_text(paths.training(dataset, method, seed), json.dumps(summary, indent=2) + "\n")
    trained.write(dataset, method, seed, model, weights)
    forget()


if __name__ == "__main__":
    stage.run(main, "dataset", "method", "seed")
