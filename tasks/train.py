"""Stage `train` (and `train_control`): train one method on one dataset with one seed.

One worker trains in a plain Ray task and goes on from the last epoch after a kill or the loss of
the worker (`tasks.cluster.resumable`). Several workers train with Ray Train, which does the same
with a storage that all nodes share (`tasks.cluster.data_parallel`).
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from atcore.base.errors import UserError
from atcore.base.files import write_text
from atcore.images.stored import StoredTable
from atcore.networks.architecture import ModelSpec
from atcore.training.progress import Epoch, Progress
from tasks import params
from tasks.cluster import pool
from tasks.cluster.resumable import run_name, states
from tasks.cluster.tables import SharedTable, shared
from tasks.console.progress import track
from tasks.workspace import paths, trained
from tasks.workspace.attackable import require_attackable
from tasks.workspace.code import deciding

if TYPE_CHECKING:
    from atcore.attacks.pgd import PGD
    from atcore.attacks.threats import ThreatModel
    from atcore.networks.pretrained import Pretrained
    from atcore.training.losses import Loss
    from atcore.training.spec import TrainingSpec

# Madry et al. 2018 choose steps that together are 2.5 times as long as the radius.
_REACH = 2.5
# Zhang et al. 2019, algorithm 1.
_TRADES_START = 0.001


# Torch is imported on the workers: the process that only watches them starts in a third of the time
# without it.


def _threat(attack: params.TrainingThreat, image_size: int) -> "ThreatModel":
    """The threat model of a method on images of a side in pixels.

    At equal size per pixel an L2 norm grows with the side, so that a radius which is given at
    another side is scaled to this one.
    """
    from atcore.attacks.norms import threat_model  # noqa: PLC0415

    eps = attack.eps if attack.at is None else attack.eps * image_size / attack.at
    return threat_model(attack.norm, eps, **attack.given("smoothness"))


def training_attack(method: params.Method, steps: int, image_size: int) -> "PGD | None":
    """The attack of a method; `steps` is the dataset's number of PGD steps."""
    from atcore.attacks.pgd import PGD  # noqa: PLC0415

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


def validation_attack(method: params.Method, steps: int, image_size: int) -> "PGD | None":
    """PGD in the threat model of a method, to watch its robustness while it trains."""
    from atcore.attacks.pgd import PGD  # noqa: PLC0415

    if method.attack is None:
        return None
    threat = _threat(method.attack, image_size)
    return PGD(threat=threat, step_size=_REACH * threat.eps / steps, steps=steps)


def loss(method: params.Method) -> "Loss":
    """What a method minimises."""
    from atcore.training.losses import CrossEntropy, Trades  # noqa: PLC0415

    if isinstance(method.loss, params.TradesLoss):
        return Trades(beta=method.loss.beta, **method.given("label_smoothing"))
    return CrossEntropy(**method.given("label_smoothing"))


def pretrained(settings: params.Params, dataset: str) -> "Pretrained | None":
    """What every network of a dataset starts from, read here: a worker may have no internet."""
    if settings.dataset[dataset].training.weights != "imagenet":
        return None
    from atcore.networks.pretrained import imagenet  # noqa: PLC0415

    try:
        return imagenet()
    except UserError as error:
        raise UserError(
            f"dataset.{dataset}.training.weights: {error}; 'none' starts without"
        ) from error


def _epochs(settings: params.Params, dataset: str, method: str) -> int:
    """Of free training a share, as each of its epochs costs as much as several."""
    attack = settings.method[method].attack
    replays = attack.replays if isinstance(attack, params.FreeAttack) else None
    return math.ceil(settings.dataset[dataset].training.epochs / (replays or 1))


def training_spec(settings: params.Params, dataset: str, method: str, seed: int) -> "TrainingSpec":
    """How a method trains on a dataset, apart from what is read from elsewhere.

    Missing are the weights that it starts from and the accuracy that a control stops at.
    """
    from atcore.training.spec import TrainingSpec  # noqa: PLC0415

    chosen, data = settings.method[method], settings.dataset[dataset].training
    image_size = settings.dataset[dataset].image_size
    replays = chosen.attack.replays if isinstance(chosen.attack, params.FreeAttack) else None
    return TrainingSpec(
        epochs=_epochs(settings, dataset, method),
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


# Parameters, and the names of dataset and method, and the seed: the arguments of `training_spec`.
How = tuple[params.Params, str, str, int]


def _whole_spec(how: How, start: "Pretrained | None", target: float | None) -> "TrainingSpec":
    return replace(training_spec(*how), start=start, stop_at_accuracy=target)


def _model_spec(how: How, table: SharedTable, image_size: int, normalise: bool) -> ModelSpec:
    """The network for these training images; `normalise` by their statistics, not ImageNet's."""
    import torch  # noqa: PLC0415

    from atcore.images.pixels import channel_statistics  # noqa: PLC0415
    from atcore.networks.models import require_trainable  # noqa: PLC0415
    from atcore.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD  # noqa: PLC0415

    settings, dataset, *_ = how
    training = settings.dataset[dataset].training
    images, (mean, std) = table.open(), (IMAGENET_MEAN, IMAGENET_STD)
    if normalise:
        mean, std = channel_statistics(torch.from_numpy(part.images) for part in images.verified())
    spec = ModelSpec(training.architecture, images.classes, image_size, mean, std)
    require_trainable(spec, last_batch=len(images) % training.batch_size or training.batch_size)
    return spec


def _weights(checkpoint: bytes, model: ModelSpec) -> bytes:
    from atcore.networks.models import weights_to_bytes  # noqa: PLC0415
    from atcore.training.loop import trained_weights  # noqa: PLC0415

    return weights_to_bytes(trained_weights(checkpoint, model))


def _train_remotely(
    how: How,
    start: "Pretrained | None",
    target: float | None,
    model: ModelSpec,
    tables: Sequence[SharedTable],
    gpu_share: float,
    checkpoint: bytes | None,
) -> Iterator[Progress]:
    import torch  # noqa: PLC0415

    from atcore.training.data import splits  # noqa: PLC0415
    from atcore.training.loop import train  # noqa: PLC0415

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    own = splits([each.open() for each in tables], device, gpu_share)
    spec = _whole_spec(how, start, target)
    yield from train(spec, model, *own, checkpoint=checkpoint, device=device)


def _detail(epoch: Epoch) -> str:
    robust = epoch.validation_robust_accuracy
    shown = "" if robust is None else f", robust {robust:.3f}"
    accuracies = f"validation {epoch.validation_accuracy:.3f}{shown}"
    return f"loss {epoch.loss:.3f}, {accuracies}, {epoch.precision}"


def _explain_end(progress: Progress, keep: str | None, target: float | None) -> None:
    epoch, kept = len(progress.history), progress.kept.number
    if progress.finished == "collapse":
        print(f"collapse: robust validation accuracy fell in epoch {epoch}; kept epoch {kept}")
    elif keep == "best_robust":
        print(f"kept epoch {kept} of {epoch}: the highest robust validation accuracy")
    elif progress.finished == "epochs" and target is not None:
        reached = progress.history[-1].validation_accuracy
        print(f"never reached validation accuracy {target:.3f}; ended at {reached:.3f}")


def _origin(
    method: params.Method, training: params.DatasetTraining, progress: Progress
) -> dict[str, str]:
    """The rows of the model card."""
    kept = progress.kept
    accuracy, robust = kept.validation_accuracy, kept.validation_robust_accuracy
    settings = {**training.model_dump(exclude_none=True), **method.model_dump(exclude_none=True)}
    return {
        "trained on": "clean images" if method.attack is None else "adversarial images",
        "settings": f"`{json.dumps(settings)}`",
        "epochs": f"{kept.number}, in {kept.precision}",
        "validation accuracy": f"{100 * accuracy:.1f}%",
        **({} if robust is None else {"under its own attack": f"{100 * robust:.1f}%"}),
    }


def main(dataset: str, method: str, seed: int) -> None:
    settings = params.load()
    settings.require(dataset=dataset, method=method)
    require_attackable(settings, dataset)
    chosen, data = settings.method[method], settings.dataset[dataset]
    training, validation = (
        StoredTable(paths.split(dataset, name)) for name in ("train", "validation")
    )
    start = pretrained(settings, dataset)
    target = None
    if chosen.stop_at is not None:
        target = trained.validation_accuracy(dataset, chosen.stop_at, seed)
    named = (dataset, method, seed)  # Entries of equal content are trained side by side.
    decisive = (named, chosen, data.training, data.image_size, settings.training, start, target)
    name = run_name((decisive, training.digest, validation.digest), deciding("train"))
    how = (settings, *named)
    epochs = _epochs(settings, dataset, method)
    with pool.connect(), track(f"train {dataset} {method} {seed}", epochs) as advance:
        tables = [shared(each, settings.ray.cache) for each in (training, validation)]
        side = validation.images.shape[1]
        model = pool.call(_model_spec, how, tables[0], side, start is None)
        done = 0

        def show(epoch: Epoch) -> None:
            nonlocal done
            advance(epoch.number - done, _detail(epoch))
            done = epoch.number

        where = (tables, settings.ray.gpu_share)
        if (chosen.workers or 1) > 1:
            # Seconds that the runs without it save.
            from tasks.cluster.data_parallel import train_together  # noqa: PLC0415
            from tasks.cluster.storage import SharedRun  # noqa: PLC0415

            assert settings.ray.storage is not None
            run = SharedRun(settings.ray.storage, name)
            spec = _whole_spec(how, start, target)
            progress = train_together(spec, model, *where, run, show)
            forget = run.remove
        else:
            saved = paths.CHECKPOINTS / f"{name}.pt"
            arguments = (how, start, target, model, *where)
            threads = data.training.threads
            for progress in states(_train_remotely, *arguments, saved=saved, threads=threads):
                show(progress.history[-1])
            forget = saved.unlink
        weights = pool.call(_weights, progress.checkpoint, model)
    _explain_end(progress, chosen.keep, target)
    write_text(paths.curve(dataset, method, seed), progress.curve())
    write_text(paths.training(dataset, method, seed), progress.summary(method, target))
    origin = _origin(chosen, data.training, progress)
    trained.write(dataset, method, seed, model, weights, origin)
    with suppress(FileNotFoundError):  # Somebody else has removed it, and nobody needs it now.
        forget()
