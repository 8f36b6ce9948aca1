"""Stage `variants` (and `variants_transferred`, for those that need a stylizer).

Writes one image table per level of one variant of a dataset's test images.
"""

from itertools import islice

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images.stored import StoredTable, writing
from atcore.images.table import ImageTable, at_most, slices
from atcore.variants.kinds import vary
from atcore.variants.styling import Styling
from tasks import params
from tasks.cluster import pool
from tasks.cluster.tables import SharedTable, shared
from tasks.workspace import paths
from tasks.workspace.styling import styling_of

_SHARD = 150


def _transform(
    item: tuple[float, slice], test: SharedTable, kind: str, seed: int, styling: Styling
) -> ImageTable:
    level, rows = item
    images = test.open()
    return vary(kind, images.rows(rows), level, images, seed, styling)


def main(dataset: str, variant: str) -> None:
    """Write the image tables of a variant, all levels or none.

    Raises:
        UserError: a name is unknown, the images do not allow a level, or the pictures for styles
            or the stylizer are missing or unreadable.
    """
    settings = params.load()
    settings.require(dataset=dataset, variant=variant)
    chosen = settings.variant[variant]
    test = StoredTable(paths.split(dataset, "test"))
    side = test.images.shape[1]
    shards = slices(len(test), at_most(_SHARD, side))
    styling = styling_of(settings, dataset, variant, side)
    with pool.connect(), replacing(paths.variant(dataset, variant)) as folder:
        folder.mkdir()
        try:
            parts = iter(
                pool.spread(
                    _transform,
                    [(level, rows) for level in chosen.levels for rows in shards],
                    shared(test, settings.ray.cache),
                    chosen.kind,
                    settings.run.seed,
                    styling,
                    total=len(chosen.levels) * len(shards),
                    label=f"variants {dataset} {variant}",
                    gpu=styling.transfer is not None,
                )
            )
            for level in chosen.levels:
                file = folder / paths.variant_level(dataset, variant, level).name
                with writing(file) as add:
                    for part in islice(parts, len(shards)):
                        add(part)
        except UserError as error:
            raise UserError(f"variant.{variant}: {error}") from error
