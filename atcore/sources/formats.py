"""Raw images as users have them; one module per format.

A module defines `load(folder)`, which lists the images of a folder without reading them, or, where
many images lie in one file, `opener`, which does so for a file (`shards`).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from atcore.base.errors import UserError
from atcore.base.wording import some
from atcore.sources import (
    caltech256,
    cifar10,
    folder,
    hugging_face,
    listing,
    shards,
    tables,
    tiny_imagenet,
    webdataset,
)
from atcore.sources.entries import (
    FORMAT_OF,
    Entries,
    Source,
    links,
    names_below,
    no_data,
    require_utf8,
)
from atcore.sources.naming import SPLITS

__all__ = ["FORMATS", "SPLITS", "Entries", "Source", "links", "load", "no_data"]


def _sharded(format_name: str, opener: shards.Opener) -> Callable[[Path, str | None], Source]:
    endings = [ending for ending, name in FORMAT_OF.items() if name == format_name]
    return lambda path, label: shards.load(path, endings, opener, label)


def _fixed(load: Callable[[Path], Source]) -> Callable[[Path, str | None], Source]:
    return lambda path, _label: load(path)


FORMATS: dict[str, Callable[[Path, str | None], Source]] = {
    "parquet": _sharded("parquet", hugging_face.opener),
    "webdataset": _sharded("webdataset", webdataset.opener),
    "csv": _sharded("csv", listing.opener),
    "arrow": _sharded("arrow", tables.opener),
    "folder": _fixed(folder.load),
    "cifar10": _fixed(cifar10.load),
    "caltech256": _fixed(caltech256.load),
    "tiny_imagenet": _fixed(tiny_imagenet.load),
}


def _left_out(source: Source) -> str:
    found = [
        f"{what}: {len(names):,} ({some(names)})" for what, names in source.skipped.items() if names
    ]
    return f"; left out, {'; '.join(found)}" if found else ""


def load(format_name: str, path: Path, label: str | None = None) -> Source:
    """List the images under `path`, a folder in the format of this name.

    Args:
        label: what the labels are called, where that has to be said: a column of Parquet or CSV, an
            ending or a key of JSON in a tar archive.

    Raises:
        UserError: something is missing, damaged or out of place, there is only one class, or a
            class has no training image; the message names the file and, where there is one, the
            row or the class.
    """
    require_utf8(names_below(path))
    source = FORMATS[format_name](path, label)
    if "train" not in source.splits:
        found = ", ".join(f"{split} ({entries.place})" for split, entries in source.splits.items())
        only = f", only {found}" if found else ""
        raise UserError(f"{path}: no training images{only}{_left_out(source)}")
    if len(source.classes) < 2:
        found = ", ".join(source.classes) or "none"
        raise UserError(f"{path}: classes: {found}; at least 2 are needed{_left_out(source)}")
    counts = np.bincount(source.splits["train"].labels, minlength=len(source.classes))
    for name, count in zip(source.classes, counts, strict=True):
        if not count:
            raise UserError(f"{path}: class {name!r} has no training image")
    return source
