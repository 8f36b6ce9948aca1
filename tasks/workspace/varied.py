"""The image tables of the selected variants."""

from atcore.base.errors import UserError
from atcore.images.stored import StoredTable
from tasks.params import Params
from tasks.workspace import paths


def varied(settings: Params, dataset: str) -> list[tuple[str, float, StoredTable]]:
    """Name, level and table of every selected variant at every level.

    Raises:
        UserError: a table is missing, or one of another level is there: `params.yaml` has changed
            since they were made.
    """
    for variant in settings.run.all_variants:
        levels = settings.variant[variant].levels
        named = {paths.variant_level(dataset, variant, level) for level in levels}
        others = set(paths.variant(dataset, variant).glob("*.arrow")) - named
        if others:
            raise UserError(
                f"{min(others)}: variant.{variant}.levels does not name this level; "
                "run the stage variants again"
            )
    return [
        (variant, level, StoredTable(paths.variant_level(dataset, variant, level)))
        for variant, level in settings.variant_levels
    ]
