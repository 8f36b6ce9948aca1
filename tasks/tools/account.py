"""The account that `prepare` gives of a dataset: what it understood, in a user's words."""

import math
from collections.abc import Mapping, Sequence

from atcore.base.wording import some
from atcore.sources.description import Description
from tasks.params import Dataset

# Classes that are named.
_CLASSES = 10
# Of training; the default run takes 756.
_FEW_STEPS = 300


def _classes_of(description: Description, split: str) -> str:
    smallest, largest = description.smallest_class[split], description.largest_class[split]
    if smallest.images == largest.images:
        return f"{largest.images:,} of each class"
    return (
        f"{smallest.images:,} ({smallest.name}) to {largest.images:,} ({largest.name}) of a class"
    )


def _originals(description: Description) -> str:
    sizes = {name: f"{w} x {h}" for name, (w, h) in description.original_sizes.items()}
    if len(set(sizes.values())) == 1:
        return f"{sizes['median']} px"
    return ", ".join(f"{size} ({name})" for name, size in sizes.items()) + " px"


def _warnings(description: Description, settings: Dataset, key: str, steps: int) -> list[str]:
    found = []
    training, trained = settings.training, description.counts["train"]
    if steps < _FEW_STEPS:
        epochs = math.ceil(_FEW_STEPS * training.epochs / steps)
        found.append(
            f"{steps} training steps are too few to learn much: raise {key}.training.epochs "
            f"({epochs} would make {_FEW_STEPS} or more), or lower its batch_size"
        )
    if training.batch_size > trained:
        found.append(
            f"{key}.training.batch_size {training.batch_size} is more than the {trained} training "
            "images"
        )
    if description.enlarged:
        side = "image_size" if settings.resize is None else "resize"
        pixels = settings.image_size if settings.resize is None else settings.resize
        found.append(
            f"images enlarged to {key}.{side} {pixels}: {description.enlarged:,} of "
            f"{sum(description.counts.values()):,}"
        )
    repeated = [
        f"{repetition.images:,} of {splits} ({' is '.join(repetition.example)})"
        for splits, repetition in description.repeated.items()
        if repetition.example
    ]
    if repeated:
        found.append(f"the same image in two splits: {'; '.join(repeated)}")
    if description.contradictory.example:
        found.append(
            f"the same image with different labels: {description.contradictory.images:,} "
            f"({' is '.join(description.contradictory.example)})"
        )
    return found


def lines(
    description: Description,
    settings: Dataset,
    key: str,
    *,
    come_from: Mapping[str, str],
    left_out: Mapping[str, Sequence[str]],
    links: Sequence[str],
) -> list[str]:
    """At most a dozen lines, from which a user sees a mistake at a glance.

    Args:
        key: of the dataset in params.yaml.
        come_from: where the images of each split come from, as it reads after their number.
        left_out: names of what is not among the images, by what it is.
        links: folders that are symbolic links.
    """
    training, counts = settings.training, description.counts
    steps = training.epochs * math.ceil(counts["train"] / training.batch_size)
    found = [
        f"{len(description.classes)} classes: {some(description.classes, _CLASSES)}",
        *(
            f"{split}: {count:,} images {come_from[split]}; {_classes_of(description, split)}"
            for split, count in counts.items()
        ),
        f"size: {settings.image_size} x {settings.image_size} px, "
        f"from originals of {_originals(description)}",
        f"training: {steps:,} steps, in {training.epochs:,} epochs of {counts['train']:,} images "
        f"and batches of {training.batch_size:,}",
    ]
    skipped = [
        f"{what}: {len(names):,} ({some(names)})" for what, names in left_out.items() if names
    ]
    if skipped:
        found.append(f"left out, {'; '.join(skipped)}")
    warnings = _warnings(description, settings, key, steps)
    if links:
        warnings.append(
            f"DVC does not see what lies behind symbolic links ({some(links)}): after a change "
            f"there, run `dvc repro --force prepare@{key.rpartition('.')[2]}`"
        )
    return found + [f"warning: {line}" for line in warnings]
