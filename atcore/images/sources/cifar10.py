"""The original CIFAR-10 archive, as torchvision stores it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atcore.errors import UserError
from atcore.images.sources.source import Entries, Source, contents

# Pixels without compression behind the header of a portable pixmap.
_HEADER = b"P6 32 32 255\n"


def load(folder: Path) -> Source:
    """List the images of `folder`/cifar-10-batches-py.

    Raises:
        UserError: the unpacked archive is absent or not the original one, or something else lies
            beside it.
    """
    # Only this format needs torch, which takes seconds to import.
    from torchvision.datasets import CIFAR10  # noqa: PLC0415

    ours = (CIFAR10.base_folder, CIFAR10.filename)
    for path in contents(folder):
        if path.name not in ours:
            raise UserError(f"{path}: not expected here; allowed: {', '.join(ours)}")
    try:
        archives = {
            "train": CIFAR10(folder, train=True, download=False),
            "test": CIFAR10(folder, train=False, download=False),
        }
    except RuntimeError as error:
        raise UserError(
            f"{folder / CIFAR10.base_folder}: absent or not the original CIFAR-10 archive"
        ) from error

    def read(split: str, indices: NDArray[np.int64]) -> Iterator[bytes]:
        return (_HEADER + archives[split].data[index].tobytes() for index in indices)

    return Source(
        classes=tuple(archives["train"].classes),
        splits={
            split: Entries(
                names=[f"{folder}: {split} image {i}" for i in range(len(archive.targets))],
                labels=np.asarray(archive.targets, np.int32),
            )
            for split, archive in archives.items()
        },
        read=read,
    )
