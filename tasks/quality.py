"""Stage `quality` (and `quality_transferred`): what one variant keeps of its images.

Edge agreement at every level; on `shapes`, for the kinds that are to destroy texture, also what
networks retrained on the middle level find of shape and of texture.
"""

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.files import write_text
from atcore.images.stored import StoredTable
from atcore.images.table import ImageTable, at_most, concatenate, slices
from atcore.quality.outlines import edge_agreement, edge_correlations
from atcore.quality.results import Probe, Quality
from atcore.statistics.estimates import Estimate
from atcore.statistics.levels import middle
from atcore.variants.kinds import vary
from atcore.variants.styling import Styling
from tasks import params
from tasks.cluster import pool
from tasks.cluster.tables import SharedTable, shared
from tasks.workspace import paths
from tasks.workspace.styling import styling_of

# Kinds that are to take the texture and to leave the shape.
PROBED = ("stylized", "saturated")
_SHARD = 150


def _correlations(
    rows: slice, original: SharedTable, changed: list[SharedTable]
) -> list[NDArray[np.float64]]:
    originals = original.rows(rows)
    return edge_correlations(originals.images, (table.rows(rows).images for table in changed))


def _agreement(
    settings: params.Params, dataset: str, variant: str, test: StoredTable
) -> dict[float, Estimate | None]:
    """That of the edges, by level."""
    levels, changed = settings.variant[variant].levels, []
    for level in levels:
        table = StoredTable(paths.variant_level(dataset, variant, level))
        if not np.array_equal(table.ids, test.ids):
            raise UserError(
                f"{table.path}: other images than the test split; run the stage variants again"
            )
        changed.append(shared(table, settings.ray.cache))
    parts = slices(len(test), at_most(_SHARD, test.images.shape[1]))
    found = pool.spread(
        _correlations,
        parts,
        shared(test, settings.ray.cache),
        changed,
        total=len(parts),
        label=f"quality {dataset} {variant}: edges",
    )
    return {
        level: edge_agreement(correlations)
        for level, correlations in zip(levels, zip(*found, strict=True), strict=True)
    }


def _images(
    ids: NDArray[np.int64], kind: str, level: float, seed: int, styling: Styling
) -> ImageTable:
    # Three seconds that variants without a probe save.
    from atcore.quality.probe import independent  # noqa: PLC0415

    drawn = independent(ids, seed)
    return vary(kind, drawn, level, drawn, seed, styling)


def _accuracy(cue: str, images: ImageTable, epochs: int, seed: int) -> Estimate:
    from atcore.quality.probe import accuracy  # noqa: PLC0415

    labels = images.labels if cue == "shape" else images.texture_labels
    assert labels is not None
    return accuracy(images.images, labels, epochs=epochs, seed=seed)


def _probe(settings: params.Params, dataset: str, variant: str, test: StoredTable) -> Probe:
    chosen, asked, seed = settings.variant[variant], settings.quality, settings.run.seed
    level = middle(chosen.levels)
    styling = styling_of(settings, dataset, variant, test.images.shape[1])
    parts = [
        np.arange(start, min(start + _SHARD, asked.images))
        for start in range(0, asked.images, _SHARD)
    ]
    label = f"quality {dataset} {variant}"
    drawn = pool.spread(
        _images,
        parts,
        chosen.kind,
        level,
        seed,
        styling,
        total=len(parts),
        label=f"{label}: images",
        gpu=styling.transfer is not None,
    )
    images = concatenate(list(drawn))
    cues = ("shape", "texture")
    shape, texture = pool.spread(
        _accuracy,
        cues,
        images,
        asked.epochs,
        seed,
        total=len(cues),
        label=f"{label}: probes",
        gpu=True,
    )
    return Probe(level, 1 / len(test.classes), shape, texture)


def main(dataset: str, variant: str) -> None:
    """Write the quality of a variant as JSON.

    Raises:
        UserError: a name is unknown, or the images of the variant are missing or others than those
            of the test split.
    """
    settings = params.load()
    settings.require(dataset=dataset, variant=variant)
    chosen = settings.variant[variant]
    test = StoredTable(paths.split(dataset, "test"))
    drawn = test.origin.get("generator") == "shapes"
    probe = None
    with pool.connect():
        edges = _agreement(settings, dataset, variant, test)
        if drawn and chosen.kind in PROBED:
            probe = _probe(settings, dataset, variant, test)
    write_text(paths.quality(dataset, variant), Quality(edges, probe).to_json())
