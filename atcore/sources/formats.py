"""Raw images as users have them; one module per format.

Each module defines `load(folder)`, which lists the images of a folder without reading them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from atcore.base.errors import UserError
from atcore.sources import caltech256, cifar10, folder, hugging_face, tiny_imagenet
from atcore.sources.entries import Entries, Source, no_data
from atcore.sources.naming import SPLITS

__all__ = ["FORMATS", "SPLITS", "Entries", "Source", "load", "no_data"]

FORMATS: dict[str, Callable[[Path], Source]] = {
    "parquet": hugging_face.load,
    "cifar10": cifar10.load,
    "caltech256": caltech256.load,
    "tiny_imagenet": tiny_imagenet.load,
    "folder": folder.load,
}


def load(format_name: str, path: Path) -> Source:
    """List the images under `path`, a folder in the format of this name.

    Raises:
        UserError: something is missing, damaged or out of place, there is only one class, or a
            class has no training image; the message names the file and, where there is one, the
            row or the class.
    """
    source = FORMATS[format_name](path)
    if "train" not in source.splits:
        found = ", ".join(f"{split} ({entries.place})" for split, entries in source.splits.items())
        raise UserError(f"{path}: no training images, only {found}")
    if len(source.classes) < 2:
        found = ", ".join(source.classes) or "none"
        raise UserError(f"{path}: classes: {found}; at least 2 are needed")
    counts = np.bincount(source.splits["train"].labels, minlength=len(source.classes))
    for name, count in zip(source.classes, counts, strict=True):
        if not count:
            raise UserError(f"{path}: class {name!r} has no training image")
    return source
