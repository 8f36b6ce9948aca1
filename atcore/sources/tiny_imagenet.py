"""Tiny ImageNet, straight from the original archive."""

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.sources.entries import Entries, Source, contents, require_downloaded

ARCHIVE = "tiny-imagenet-200.zip"

_ROOT = "tiny-imagenet-200/"
_ANNOTATIONS = _ROOT + "val/val_annotations.txt"
_TRAIN = re.compile(_ROOT + r"train/([^/]+)/images/[^/]+")
_VAL = re.compile(_ROOT + r"val/images/([^/]+)")
_UNLABELLED = re.compile(_ROOT + r"test/images/[^/]+")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        require_downloaded(path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a readable zip archive: {error}") from error


def _lines(archive: zipfile.ZipFile, member: str) -> list[str]:
    try:
        return archive.read(member).decode().splitlines()
    except KeyError as error:
        raise UserError(f"{archive.filename}: no {member} in it") from error


def _class_names(wnids: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """The first word for each WordNet id; the id itself where there is none."""
    known = dict(line.split("\t", 1) for line in words if "\t" in line)
    names = [known.get(wnid, wnid).split(",")[0].strip() for wnid in wnids]
    uses = Counter(names)
    return tuple(
        name if uses[name] == 1 else f"{name} ({wnid})"
        for name, wnid in zip(names, wnids, strict=True)
    )


def _train(archive: zipfile.ZipFile, index: dict[str, int]) -> dict[str, int]:
    """Labels of the training images by member."""
    labels = {}
    for member in sorted(archive.namelist()):
        if match := _TRAIN.fullmatch(member):
            if match[1] not in index:
                raise UserError(f"{archive.filename}: {member}: its class is not in wnids.txt")
            labels[member] = index[match[1]]
    return labels


def _val(archive: zipfile.ZipFile, index: dict[str, int]) -> dict[str, int]:
    """Labels of the official validation images by member."""
    wnids = {}
    for number, line in enumerate(_lines(archive, _ANNOTATIONS), start=1):
        name, _, rest = line.partition("\t")
        wnids[name] = rest.partition("\t")[0]
        if wnids[name] not in index:
            raise UserError(
                f"{archive.filename}: {_ANNOTATIONS} line {number}: class {wnids[name]!r} "
                "is not in wnids.txt"
            )
    images = {match[1] for match in map(_VAL.fullmatch, archive.namelist()) if match}
    for name in sorted(images ^ wnids.keys()):
        missing = "image" if name in wnids else "label"
        raise UserError(f"{archive.filename}: {_ROOT}val/images/{name}: no {missing}")
    return {f"{_ROOT}val/images/{name}": index[wnids[name]] for name in sorted(images)}


def load(folder: Path) -> Source:
    """List the images of `folder`/tiny-imagenet-200.zip.

    The official validation images are the test split: the archive's own test images have no
    labels. Classes are in the order of their WordNet ids and are called by the first word of
    words.txt, with the id added where two classes share it.

    Raises:
        UserError: the archive is absent or damaged, or not laid out like the original.
    """
    path = folder / ARCHIVE
    for other in contents(folder):
        if other != path:
            raise UserError(f"{other}: not expected here; allowed: {ARCHIVE}")
    with _opened(path) as archive:
        wnids = sorted(_lines(archive, _ROOT + "wnids.txt"))
        classes = _class_names(wnids, _lines(archive, _ROOT + "words.txt"))
        index = {wnid: label for label, wnid in enumerate(wnids)}
        labels = {"train": _train(archive, index), "test": _val(archive, index)}
        unlabelled = list(filter(_UNLABELLED.fullmatch, archive.namelist()))
    members = {split: list(by_member) for split, by_member in labels.items()}

    def read(split: str, indices: NDArray[np.int64]) -> Iterator[bytes]:
        with _opened(path) as archive:
            for position in indices:
                yield archive.read(members[split][position])

    return Source(
        classes=classes,
        splits={
            split: Entries(
                place=f"{ARCHIVE}: {'val' if split == 'test' else split}",
                names=[f"{path}: {member}" for member in by_member],
                labels=np.asarray(list(by_member.values()), np.int32),
            )
            for split, by_member in labels.items()
        },
        read=read,
        skipped={"images without labels": unlabelled},
    )
