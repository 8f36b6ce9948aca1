"""Stage `variants`: one image table per level of one variant of a dataset's test images."""

from atcore.errors import UserError
from atcore.files import replacing
from atcore.images import table
from atcore.images.table import ImageTable, concatenate
from atcore.variants import KINDS
from tasks import cluster, params, paths, stage

_SHARD = 500


def _transform(
    item: tuple[float, ImageTable], pool: ImageTable, kind: str, seed: int
) -> ImageTable:
    level, shard = item
    return KINDS[kind].apply(shard, level, pool, seed)


def main(dataset: str, variant: str) -> None:
    """Write the image tables of a variant, all levels or none.

    Raises:
        UserError: a name is unknown, or the images do not allow a level; names the variant.
    """
    settings = params.load()
    settings.require(dataset=dataset, variant=variant)
    chosen = settings.variant[variant]
    test = table.read(paths.split(dataset, "test"))
    shards = test.shards(_SHARD)
    items = [(level, shard) for level in chosen.levels for shard in shards]
    with cluster.connect():
        try:
            parts = cluster.spread(
                _transform,
                items,
                test,
                chosen.kind,
                settings.run.seed,
                total=len(items),
                label=f"variants {dataset} {variant}",
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
