"""Whether attacks of `evaluate` fit the images: it has to show before networks are trained."""

from atcore.base.errors import UserError
from atcore.images.stored import StoredTable
from tasks.params import Params
from tasks.workspace import paths

# AutoAttack's targeted loss divides by a difference of the first, third and fourth largest logit.
_FEWEST_CLASSES = 4


def require_attackable(settings: Params, dataset: str) -> None:
    """Check `evaluate.auto_attack` against the test images.

    Raises:
        UserError: they have too few classes for it, or are fewer than it asks for.
    """
    if not settings.evaluate.auto_attack:
        return
    test = StoredTable(paths.split(dataset, "test"))
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
