"""Stage `evaluate`: one model's answers on every test image, variant and attack."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atcore.evaluation import predictions
from atcore.evaluation.predictions import ATTACKS, AUTO_ATTACKS, Predictions, joined
from atcore.images.stored import Rows, StoredTable
from atcore.images.table import CLEAN, at_most, slices
from tasks import params
from tasks.cluster import pool
from tasks.cluster.tables import SharedTable, shared
from tasks.params import AutoAttacked, Robustness
from tasks.workspace import paths, trained
from tasks.workspace.attackable import require_attackable
from tasks.workspace.trained import Trained
from tasks.workspace.varied import varied

if TYPE_CHECKING:
    from atcore.attacks.pgd import PGD

Job = tuple[str, float, Robustness | AutoAttacked | None, SharedTable, Rows]


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
    variant, level, asked, images, rows = job
    attack: PGD | AutoAttack | None = None
    if isinstance(asked, AutoAttacked):
        attack = AutoAttack(L2(asked.eps) if asked.norm == "l2" else Linf(asked.eps))
    elif asked is not None:
        attack = evaluation_attack(asked)
    with network.named():
        model = load_folded(network.spec, network.weights, device)
    return predict(
        model,
        images.rows(rows),
        variant=variant,
        level=level,
        attack=attack,
        seed=seed,
        device=device,
    )


def _jobs(
    settings: params.Params,
    dataset: str,
    test: StoredTable,
    auto_attacked: list[NDArray[np.int64]],
) -> Iterator[Job]:
    size, kept = at_most(settings.evaluate.shard, test.images.shape[1]), settings.ray.cache
    shards, images = slices(len(test), size), shared(test, kept)
    for rows in shards:
        yield CLEAN, 0.0, None, images, rows
    for robustness in settings.evaluate.robustness:
        for rows in shards:
            yield ATTACKS[robustness.norm], robustness.eps, robustness, images, rows
    for entry, chosen in zip(settings.evaluate.auto_attack, auto_attacked, strict=True):
        for part in slices(len(chosen), size):
            yield AUTO_ATTACKS[entry.norm], entry.eps, entry, images, chosen[part]
    for variant, level, changed in varied(settings, dataset):
        for rows in slices(len(changed), size):
            yield variant, level, None, shared(changed, kept), rows


def main(dataset: str, method: str, seed: int) -> None:
    settings = params.load()
    settings.require(dataset=dataset, model=method)
    test = StoredTable(paths.split(dataset, "test"))
    network = trained.read(dataset, method, seed, test, settings.run.writer(method))
    require_attackable(settings, dataset)
    entries = settings.evaluate.auto_attack
    auto_attacked = [np.sort(test.evenly(entry.images)) for entry in entries]
    with pool.connect():
        jobs = list(_jobs(settings, dataset, test, auto_attacked))
        parts = pool.spread(
            _predict,
            jobs,
            network,
            settings.run.seed,
            total=len(jobs),
            label=f"evaluate {dataset} {method} {seed}",
            gpu=True,
        )
        answers = joined(parts)
    predictions.write(answers, test.classes, paths.predictions(dataset, method, seed))
