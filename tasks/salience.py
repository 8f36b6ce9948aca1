"""Stage `salience`: maps of one model on test images and all of their variants, and measures.

Writes `maps.safetensors` of the images that are shown (R rows of n images: `images` uint8
R x n x H x W x 3, each kind of map float32 R x n x H x W under its name, `predicted` int32 R x n,
`labels` int32 n; the metadata `rows` says which variant and level each row is), and
`measures.parquet` (see `atcore.salience.measured`) of all that are measured.
"""

import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from atcore.base.files import replacing
from atcore.images.stored import StoredTable
from atcore.images.table import CLEAN, ImageTable, slices
from atcore.salience.measured import joined
from atcore.salience.measured import write as write_measures
from atcore.salience.rows import Explained, Row
from tasks import params
from tasks.cluster import pool
from tasks.cluster.tables import SharedTable, shared
from tasks.params import Params
from tasks.workspace import paths, trained
from tasks.workspace.trained import Trained
from tasks.workspace.varied import varied

# Images per task; their maps on all rows stay together, as variants are compared with clean images.
SHARD = 8
# Kinds of variant that leave things where they are not found in the clean image.
_MOVING = {"patch_shuffled"}

# Position of the first image among those measured, and which images of the tables they are.
Job = tuple[int, NDArray[np.int64]]


def _explain(
    job: Job,
    tables: list[SharedTable],
    network: Trained,
    rows: list[Row],
    settings: params.Salience,
    seed: int,
) -> Explained:
    # Here, as the process that only hands out the jobs starts in a third of the time without torch.
    import torch  # noqa: PLC0415

    from atcore.networks.folding import load_folded  # noqa: PLC0415
    from atcore.salience.explain import explain, untrained_network  # noqa: PLC0415
    from atcore.salience.maps import MapSettings  # noqa: PLC0415

    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    start, chosen = job
    size = len(chosen)
    with network.named():
        model = load_folded(network.spec, network.weights, device)
    found = explain(
        model,
        untrained_network(network.spec, network.weights, seed, device),
        rows,
        [table.rows(chosen) for table in tables],
        {kind: min(max(count - start, 0), size) for kind, count in settings.measured.items()},
        MapSettings(
            samples=settings.smooth_samples,
            noise=settings.smooth_noise,
            steps=settings.integration_steps,
            baseline=network.spec.mean,
            seed=seed,
        ),
        device,
    )
    # The driver needs no more maps than it shows.
    shown = max(settings.images - start, 0)
    return replace(found, maps={kind: maps[:, :shown] for kind, maps in found.maps.items()})


def _rows(settings: Params) -> list[Row]:
    return [Row(CLEAN, 0.0, moved=False)] + [
        Row(variant, level, moved=settings.variant[variant].kind in _MOVING)
        for variant, level in settings.variant_levels
    ]


def _shown(
    parts: list[Explained], images: list[ImageTable], kinds: list[str], count: int
) -> dict[str, NDArray[np.generic]]:
    """The tensors of the first `count` images, which are those of `images`."""
    tensors: dict[str, NDArray[np.generic]] = {
        kind: np.concatenate([part.maps[kind] for part in parts if kind in part.maps], 1)
        for kind in kinds
    }
    tensors["predicted"] = np.concatenate([part.predicted for part in parts], 1)[:, :count]
    tensors["images"] = np.stack([each.images for each in images])
    tensors["labels"] = images[0].labels
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def main(dataset: str, method: str, seed: int) -> None:
    settings = params.load()
    settings.require(dataset=dataset, model=method)
    test = StoredTable(paths.split(dataset, "test"))
    network = trained.read(dataset, method, seed, test, settings.run.writer(method))
    chosen = test.evenly(max(settings.salience.measured.values()))
    rows = _rows(settings)
    tables = [test, *(table for _, _, table in varied(settings, dataset))]
    shards = slices(len(chosen), SHARD)
    with pool.connect():
        parts = list(
            pool.spread(
                _explain,
                [(shard.start, chosen[shard]) for shard in shards],
                [shared(each, settings.ray.cache) for each in tables],
                network,
                rows,
                settings.salience,
                settings.run.seed,
                total=len(shards),
                label=f"salience {dataset} {method} {seed}",
                gpu=True,
            )
        )
    first = [each.rows(chosen[: settings.salience.images]) for each in tables]
    shown = _shown(parts, first, list(settings.salience.measured), settings.salience.images)
    named = json.dumps([{"variant": row.variant, "level": row.level} for row in rows])
    with replacing(paths.salience(dataset, method, seed)) as folder:
        folder.mkdir()
        maps = save(shown, {"rows": named})
        (folder / paths.salience_maps(dataset, method, seed).name).write_bytes(maps)
        measured = joined(m for part in parts for m in part.measured)
        write_measures(measured, folder / paths.salience_measures(dataset, method, seed).name)
