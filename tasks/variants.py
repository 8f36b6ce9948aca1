"""Stage `variants` (and `variants_transferred`, for those that need a stylizer).

Writes one image table per level of one variant of a dataset's test images.
"""

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images import table
from atcore.images.table import ImageTable, concatenate
from atcore.variants.kinds import vary
from atcore.variants.styling import Styling
from tasks import params
from tasks.cluster import pool
from tasks.workspace import paths, stage
from tasks.workspace.styling import styling_of

_SHARD = 500


def _transform(
    item: tuple[float, ImageTable],
    pool: ImageTable,
    kind: str,
    seed: int,
    styling: Styling,
) -> ImageTable:
    level, shard = item
    return vary(kind, shard, level, pool, seed, styling)


def main(dataset: str, variant: str) -> None:
    """Write the image tables of a variant, all levels or none.

    Raises:
        UserError: a name is unknown, the images do not allow a level, or the pictures for styles
            or the stylizer are missing or unreadable.
    """
    settings = params.load()
    settings.require(dataset=dataset, variant=variant)
    chosen = settings.variant[variant]
    test = table.read(paths.split(dataset, "test"))
    shards = test.shards(_SHARD)
    items = [(level, shard) for level in chosen.levels for shard in shards]
    styling = styling_of(settings, dataset, variant, test.images.shape[1])
    with pool.connect():
        try:
            parts = pool.spread(
                _transform,
                items,
                test,
                chosen.kind,
                settings.run.seed,
                styling,
                total=len(items),
                label=f"variants {dataset} {variant}",
                gpu=styling.transfer is not None,
            )
        except UserError as error:
            raise UserError(f"variant.{variant}: {error}") from error
    with replacing(paths.variant(dataset, variant)) as folder:
        folder.mkdir()
        for index, level in enumerate(chosen.levels):
            own = parts[index * len(shards) : (index + 1) * len(shards)]
            name = paths.variant_level(dataset, variant, level).name
            table.write(concatenate(own), folder / name)


if __name__ == "__main__":
    stage.run(main, "dataset", "variant")
