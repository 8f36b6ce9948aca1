"""Caltech-256, straight from the original archive, or unpacked."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.sources import tar
from atcore.sources.entries import Entries, Source, contents

ROOT = "256_ObjectCategories"
ARCHIVE = f"{ROOT}.tar"

# As in torchvision, what else lies there is no image: 056.dog/greg and 198.spider/RENAME2.
_IMAGE = re.compile(ROOT + r"/([^/.][^/]*)/[^/.][^/]*\.jpg")


def _unpacked(folder: Path) -> dict[str, Callable[[], bytes]]:
    visible = (folder / ROOT).glob("[!.]*/[!.]*")
    return {path.relative_to(folder).as_posix(): path.read_bytes for path in visible}


def load(folder: Path) -> Source:
    """List the images of `folder`/256_ObjectCategories, or of 256_ObjectCategories.tar without it.

    Images are the files <class>/*.jpg; classes are in the order of their names and so are the
    images of a class, whichever of the two is read. All 257 classes are taken, the last one being
    clutter, as in the paper. The dataset has no test images of its own.

    Raises:
        UserError: both are absent, the archive is damaged, something else lies beside them, or an
            image cannot be read.
    """
    allowed = (ROOT, ARCHIVE)
    for path in contents(folder):
        if path.name not in allowed:
            raise UserError(f"{path}: not expected here; allowed: {', '.join(allowed)}")
    unpacked = (folder / ROOT).exists()
    files = _unpacked(folder) if unpacked else tar.members(folder / ARCHIVE)
    class_of = {name: match[1] for name in sorted(files) if (match := _IMAGE.fullmatch(name))}
    classes = tuple(sorted(set(class_of.values())))
    index = {name: label for label, name in enumerate(classes)}
    members = sorted(class_of, key=lambda name: (class_of[name], name))
    place = folder if unpacked else folder / ARCHIVE

    def read(_split: str, indices: NDArray[np.int64]) -> Iterator[bytes]:
        for position in indices:
            try:
                yield files[members[position]]()
            except OSError as error:
                raise UserError(f"{place}: {members[position]}: {error.strerror}") from error

    return Source(
        classes=classes,
        splits={
            "train": Entries(
                place=ROOT if unpacked else ARCHIVE,
                names=[f"{place}: {name}" for name in members],
                labels=np.asarray([index[class_of[name]] for name in members], np.int32),
            )
        },
        read=read,
        skipped={"no images <class>/*.jpg": sorted(files.keys() - class_of.keys())},
    )
