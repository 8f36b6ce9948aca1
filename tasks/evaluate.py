"""Stage `evaluate`: one model's answers on every test image, variant and attack."""

import math
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from atcore.base.errors import UserError
from atcore.evaluation import predictions
from atcore.evaluation.predictions import ATTACKS, AUTO_ATTACKS, Predictions
from atcore.images import table
from atcore.images.table import CLEAN, ImageTable
from tasks import params
from tasks.cluster import pool
from tasks.params import AutoAttacked, Robustness
from tasks.workspace import paths, stage, trained
from tasks.workspace.trained import Trained

if TYPE_CHECKING:
    from atcore.attacks.pgd import PGD

# AutoAttack's targeted loss divides by a difference of the first, third and fourth largest logit.
_FEWEST_CLASSES = 4

Job = tuple[str, float, Robustness | AutoAttacked | None, ImageTable]


# Torch is imported on the workers: the process that only hands out jobs starts in a third of the
# time without it.


def evaluation_attack(asked: Robustness) -> "PGD":
    from atcore.attacks.norms import threat_model  # noqa: PLC0415
    from atcore.attacks.pgd import PGD  # noqa: PLC0415

    threat = threat_model(asked.norm, asked.eps, **asked.given("smoothness"))
    return PGD(threat=threat, step_size=asked.step_size * asked.eps, steps=asked.steps)


def _predict(job: Job, network: Trained, seed: int) -> Predictions:
    import torch  # noqa: PLC0415

    from atcore.attacks.auto_attack import AutoAttack  # noqa: PLC0415
    from atcore.attacks.pgd import PGD  # noqa: PLC0415
    from atcore.attacks.threats import L2, Linf  # noqa: PLC0415
    from atcore.evaluation.asking import predict  # noqa: PLC0415
    from atcore.networks.folding import load_folded  # noqa: PLC0415

    # One thread: tasks share the cores, and sums must not depend on how many there are.
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    variant, level, asked, shard = job
    attack: PGD | AutoAttack | None = None
    if isinstance(asked, AutoAttacked):
        attack = AutoAttack(L2(asked.eps) if asked.norm == "l2" else Linf(asked.eps))
    elif asked is not None:
        attack = evaluation_attack(asked)
    with network.named():
        model = load_folded(network.spec, network.weights, device)
    return predict(
        model, shard, variant=variant, level=level, attack=attack, seed=seed, device=device
    )


def _auto_attacked(settings: params.Params, dataset: str, test: ImageTable) -> list[ImageTable]:
    """The first images of the test split that each entry of evaluate.auto_attack takes."""
    for number, entry in enumerate(settings.evaluate.auto_attack):
        key = f"evaluate.auto_attack.{number}"
        if len(test.classes) < _FEWEST_CLASSES:
            raise UserError(
                f"{key}: not allowed for {dataset}, which has {len(test.classes)} classes; "
                f"AutoAttack needs at least {_FEWEST_CLASSES}"
            )
        if entry.images > len(test):
            raise UserError(
                f"{key}.images: {entry.images} is not allowed; "
                f"{dataset} has {len(test)} test images"
            )
    return [
        test.rows(np.sort(test.evenly(entry.images))) for entry in settings.evaluate.auto_attack
    ]


def _jobs(
    settings: params.Params, dataset: str, test: ImageTable, auto_attacked: list[ImageTable]
) -> Iterator[Job]:
    size = settings.evaluate.shard
    for shard in test.shards(size):
        yield CLEAN, 0.0, None, shard
    for robustness in settings.evaluate.robustness:
        for shard in test.shards(size):
            yield ATTACKS[robustness.norm], robustness.eps, robustness, shard
    for entry, images in zip(settings.evaluate.auto_attack, auto_attacked, strict=True):
        for shard in images.shards(size):
            yield AUTO_ATTACKS[entry.norm], entry.eps, entry, shard
    for variant, level in settings.variant_levels:
        for shard in table.read(paths.variant_level(dataset, variant, level)).shards(size):
            yield variant, level, None, shard


def _joined(parts: list[Predictions]) -> list[Predictions]:
    """One item per variant and level, of the items per shard."""
    joined = []
    for (variant, level), group in groupby(parts, key=lambda part: (part.variant, part.level)):
        shards = list(group)
        textures = [s.texture_labels for s in shards if s.texture_labels is not None]
        joined.append(
            Predictions(
                variant=variant,
                level=level,
                ids=np.concatenate([s.ids for s in shards]),
                labels=np.concatenate([s.labels for s in shards]),
                top3=np.concatenate([s.top3 for s in shards]),
                probabilities=np.concatenate([s.probabilities for s in shards]),
                texture_labels=np.concatenate(textures) if textures else None,
            )
        )
    return joined


def main(dataset: str, method: str, number: str) -> None:
    settings = params.load()
    settings.require(dataset=dataset, method=method)
    seed = params.seed(number)
    test = table.read(paths.split(dataset, "test"))
    network = trained.read(dataset, method, seed, test)
    auto_attacked = _auto_attacked(settings, dataset, test)
    whole = 1 + len(settings.evaluate.robustness) + len(settings.variant_levels)
    sizes = [*map(len, auto_attacked), *[len(test)] * whole]
    with pool.connect():
        parts = pool.spread(
            _predict,
            _jobs(settings, dataset, test, auto_attacked),
            network,
            settings.run.seed,
            total=sum(math.ceil(size / settings.evaluate.shard) for size in sizes),
            label=f"evaluate {dataset} {method} {seed}",
            gpu=True,
        )
    predictions.write(_joined(parts), test.classes, paths.predictions(dataset, method, seed))


if __name__ == "__main__":
    stage.run(main, "dataset", "method", "seed")
