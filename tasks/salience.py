"""Stage `salience`: maps of one model on a few test images and all of their variants.

Writes `maps.safetensors` (R rows of n images: `images` uint8 R x n x H x W x 3, `gradient` and
`smoothgrad` float32 R x n x H x W, `predicted` int32 R x n, `labels` int32 n; the metadata `rows`
says which variant and level each row is).
"""

import json

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from atcore.evaluation import load_folded
from atcore.files import replacing
from atcore.images import table
from atcore.images.table import ImageTable
from atcore.models import ModelSpec
from atcore.predictions import CLEAN
from atcore.salience import explain
from tasks import cluster, params, paths, stage, trained


def _explain(
    images: ImageTable, spec: ModelSpec, weights: bytes, settings: params.Salience, seed: int
) -> dict[str, NDArray[np.generic]]:
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return explain(
        load_folded(spec, weights, device),
        images.images,
        images.labels,
        samples=settings.smooth_samples,
        noise=settings.smooth_noise,
        seed=seed,
        device=device,
    )


def main(dataset: str, method: str, number: str) -> None:
    settings = params.load()
    settings.require(dataset=dataset, method=method)
    seed = params.seed(number)
    test = table.read(paths.split(dataset, "test"))
    spec, weights = trained.read(dataset, method, seed, test)
    shown = test.evenly(settings.salience.images)
    rows: list[dict[str, str | float]] = [{"variant": CLEAN, "level": 0.0}]
    tables = [test.rows(shown)]
    for variant, level in settings.variant_levels:
        rows.append({"variant": variant, "level": level})
        tables.append(table.read(paths.variant_level(dataset, variant, level)).rows(shown))
    with cluster.connect():
        maps = cluster.spread(
            _explain,
            tables,
            spec,
            weights,
            settings.salience,
            settings.run.seed,
            total=len(tables),
            label=f"salience {dataset} {method} {seed}",
            gpu=True,
        )
    tensors = {name: np.stack([part[name] for part in maps]) for name in maps[0]}
    tensors["images"] = np.stack([part.images for part in tables])
    tensors["labels"] = tables[0].labels
    with replacing(paths.salience(dataset, method, seed)) as folder:
        folder.mkdir()
        save_file(tensors, folder / "maps.safetensors", {"rows": json.dumps(rows)})


if __name__ == "__main__":
    stage.run(main, "dataset", "method", "seed")
