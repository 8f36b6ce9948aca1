"""The original CIFAR-10 archive, as its authors publish it or unpacked."""

import hashlib
import pickle
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.sources.entries import Entries, Source, contents, pixmap, require_downloaded


def _unpacked(folder: Path, names: set[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _packed(archive: Path, root: str, names: set[str]) -> dict[str, bytes]:
    found = {}
    try:
        require_downloaded(archive)
        with tarfile.open(archive) as tar:
            for member in tar:
                directory, _, name = member.name.rpartition("/")
                file = tar.extractfile(member)
                if directory == root and name in names and file is not None:
                    found[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"{archive}: not a readable tar archive: {error}") from error
    return found


def _unpickled(place: Path, files: Mapping[str, bytes], sums: Mapping[str, str]) -> dict[str, Any]:
    """The contents of the files, which may be trusted as their sums are those of the original."""
    for name, md5 in sums.items():
        if name not in files:
            raise UserError(f"{place}: no {name} in it; not the original CIFAR-10 archive")
        found = hashlib.md5(files[name]).hexdigest()
        if found != md5:
            raise UserError(
                f"{place}: {name} has md5 {found}, not {md5}; not the original CIFAR-10 archive"
            )
    return {name: pickle.loads(files[name], encoding="latin1") for name in sums}


def load(folder: Path) -> Source:
    """List the images of `folder`/cifar-10-batches-py, or of cifar-10-python.tar.gz without it.

    Raises:
        UserError: the archive is absent or not the original one, or something else lies beside it.
    """
    # Only this format needs torch, which takes seconds to import.
    from torchvision.datasets import CIFAR10  # noqa: PLC0415

    ours = (CIFAR10.base_folder, CIFAR10.filename)
    for path in contents(folder):
        if path.name not in ours:
            raise UserError(f"{path}: not expected here; allowed: {', '.join(ours)}")
    splits = {"train": CIFAR10.train_list, "test": CIFAR10.test_list}
    meta = CIFAR10.meta["filename"]
    sums = dict([*splits["train"], *splits["test"], (meta, CIFAR10.meta["md5"])])
    place = folder / CIFAR10.base_folder
    if place.exists():
        files = _unpacked(place, set(sums))
    else:
        place = folder / CIFAR10.filename
        files = _packed(place, CIFAR10.base_folder, set(sums))
    batches = _unpickled(place, files, sums)
    pixels = {
        split: np.concatenate([batches[name]["data"] for name, _ in members])
        .reshape(-1, 3, 32, 32)
        .transpose(0, 2, 3, 1)
        for split, members in splits.items()
    }
    labels = {
        split: np.concatenate([batches[name]["labels"] for name, _ in members]).astype(np.int32)
        for split, members in splits.items()
    }

    def read(split: str, indices: NDArray[np.int64]) -> Iterator[bytes]:
        return (pixmap(pixels[split][index]) for index in indices)

    return Source(
        classes=tuple(batches[meta][CIFAR10.meta["key"]]),
        splits={
            split: Entries(
                place=", ".join(name for name, _ in splits[split]),
                names=[f"{place}: {split} image {i}" for i in range(len(values))],
                labels=values,
            )
            for split, values in labels.items()
        },
        read=read,
    )
