"""How many images a comparison is about, as far as that is known before it runs. No torch."""

import json
from dataclasses import dataclass

from atcore.base.errors import UserError
from atcore.images import shapes
from atcore.sources.splits import of_source
from tasks import params
from tasks.tools.download import ARCHIVES
from tasks.workspace import paths


@dataclass(frozen=True)
class Counts:
    """Number of classes, and of images by split."""

    classes: int
    train: int
    validation: int
    test: int

    @property
    def images(self) -> int:
        return self.train + self.validation + self.test


def counts(settings: params.Params, dataset: str) -> Counts:
    """From the tables that `prepare` wrote, or from what is known of the dataset without them.

    Raises:
        UserError: neither says how many there are.
    """
    info = paths.dataset_info(dataset)
    if info.exists():
        found = json.loads(info.read_text(encoding="utf-8"))
        return Counts(len(found["classes"]), **found["counts"])
    amounts = settings.dataset[dataset].images.model_dump()
    if settings.dataset[dataset].format == "shapes":
        return Counts(len(shapes.CLASSES), **amounts)
    archive = ARCHIVES.get(dataset)
    if archive is None:
        raise UserError(f"{info}: no such file; run `dvc repro prepare` first")
    left = dict(archive.images)
    chosen: dict[str, int] = {}
    for split in ("test", "validation", "train"):
        source = split if split in archive.images else "train"
        amount = of_source(amounts[split], split, source)
        if amount is None:
            amount = left[source]
        elif isinstance(amount, float):
            amount = round(amount * archive.images[source])
        chosen[split] = min(amount, left[source])
        left[source] -= chosen[split]
    return Counts(archive.classes, **chosen)
