"""Stage `variants` (and `variants_transferred`, for those that need a stylizer).

Writes one image table per level of one variant of a dataset's test images.
"""

from pathlib import Path

from atcore.errors import UserError
from atcore.files import replacing
from atcore.images import table
from atcore.images.table import ImageTable, concatenate
from atcore.variants import KINDS
from atcore.variants.styles import pictures
from atcore.variants.transfer import Styling
from tasks import cluster, params, paths, stage
from tasks.params import Stylized

_SHARD = 500


def _transform(
    item: tuple[float, ImageTable],
    pool: ImageTable,
    kind: str,
    seed: int,
    styling: Styling,
) -> ImageTable:
    level, shard = item
    return KINDS[kind].apply(shard, level, pool, seed, styling)


def _styling(settings: params.Params, dataset: str, variant: str, side: int) -> Styling:
    """How a variant of images of `side` pixels gets its textures."""
    chosen, name = settings.variant[variant], settings.transfer(variant)
    folder = chosen.styles if isinstance(chosen, Stylized) else None
    if name is None:
        return Styling(pictures=None if folder is None else pictures(Path(folder), side))
    # Two seconds that the variants without a stylizer save in each of their processes.
    from atcore.adain import working_side  # noqa: PLC0415
    from atcore.variants.adain import Adain  # noqa: PLC0415

    file = paths.stylizer(dataset, name) / "stylizer.safetensors"
    if not file.exists():
        raise UserError(f"{file}: no such file; run the stage stylizer first")
    size = settings.stylizer[name].size
    working = working_side(side, size)
    return Styling(
        transfer=Adain(file.read_bytes(), str(file), size),
        pictures=None if folder is None else pictures(Path(folder), working),
        side=working,
    )


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
    styling = _styling(settings, dataset, variant, test.images.shape[1])
    with cluster.connect():
        try:
            parts = cluster.spread(
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
