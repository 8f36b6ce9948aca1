"""Image files in one folder per class, the layout of torchvision's ImageFolder."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.sources.entries import (
    TEXTS,
    Entries,
    Source,
    contents,
    file_bytes,
    format_hint,
    is_text,
    listing,
    require_file,
)
from atcore.sources.naming import SPLIT_OF, UNDERSTOOD, split_words


def _listing(folder: Path) -> list[Path]:
    """What is in a folder, without texts."""
    found = [path for path in listing(folder) if not is_text(path)]
    if not found:
        raise UserError(f"{folder}: no images in it")
    return found


def _texts(folders: Iterable[Path]) -> list[str]:
    return [str(path) for folder in folders for path in listing(folder) if is_text(path)]


def _is_split(path: Path) -> bool:
    return path.name.lower() in SPLIT_OF


def _unwrapped(found: list[Path], stop: Callable[[Path], bool]) -> list[Path]:
    """What lies in a folder, or in the only one in it if that holds folders only, and so on.

    Args:
        stop: whether an only folder is none around everything.
    """
    while len(found) == 1 and found[0].is_dir() and not stop(found[0]):
        inner = _listing(found[0])
        if not all(path.is_dir() for path in inner):
            break
        found = inner
    return found


def _classes(split_folder: Path) -> list[Path]:
    found = _listing(split_folder)
    if not any(path.is_dir() for path in found):
        raise UserError(
            f"{split_folder}: no class folders in it, so that the classes of its images are "
            f"unknown; expected {split_folder.name}/<class>/*{format_hint(found)}"
        )
    return _unwrapped(found, lambda _: False)


def _trees(folder: Path) -> dict[str, list[Path]]:
    """Class folders by split.

    The name of a class may well have the word for a split in it (bullet_train); a folder is a split
    if it is called by nothing else, or where others have the word for another split.
    """
    contents(folder)
    top = _unwrapped(_listing(folder), _is_split)
    words = {path: split_words(path.name) for path in top if path.is_dir()}
    named = {SPLIT_OF[word] for found in words.values() for word in found}
    if len(named) < 2 and not any(map(_is_split, words)):
        return {"train": top}
    trees: dict[str, list[Path]] = {}
    for path in top:
        splits = {SPLIT_OF[word] for word in split_words(path.name)}
        if len(splits) != 1:
            raise UserError(
                f"{path}: not expected beside folders that are splits ({UNDERSTOOD}); "
                "if all are classes, put them into a folder train"
            )
        (split,) = splits
        if split in trees:
            raise UserError(f"{path}: there is another folder for {split}")
        trees[split] = _classes(path)
    if "train" not in trees:
        raise UserError(f"{top[0].parent}: no folder train beside {', '.join(trees)}")
    return trees


def _require_folder(path: Path) -> None:
    if not path.is_dir():
        hint = format_hint(path.parent.iterdir())
        raise UserError(f"{path}: not a folder with the images of one class{hint}")


def _files(class_folder: Path) -> list[Path]:
    files = _listing(class_folder)
    for path in files:
        if path.is_dir():
            raise UserError(f"{path}: not a file; a class's folder holds its images only")
        require_file(path)
    return files


def _named(class_folders: Iterable[Path]) -> dict[str, Path]:
    """Class folders by the names of the classes, whichever way their accents are written."""
    found: dict[str, Path] = {}
    for path in class_folders:
        other = found.setdefault(normalize("NFC", path.name), path)
        if other != path:
            raise UserError(
                f"{path}: the name of {other}, with its accents written in another way; put all "
                "images of a class into one folder"
            )
    return found


def load(folder: Path) -> Source:
    """List `folder`/<class>/* or `folder`/<split>/<class>/*.

    Split folders are called by the words of `naming`. One folder around everything is allowed, as
    archives often have it. Classes are in the order of their names, and so are the images of a
    class. Every file in a class's folder counts as an image, unless it is a text or no data.

    Raises:
        UserError: a class has no images, is absent from the training images, a split has no class
            folders, or something is neither a split's folder, nor a class's, nor an image.
    """
    trees = _trees(folder)
    class_folders = [path for tree in trees.values() for path in tree]
    for path in class_folders:
        _require_folder(path)
    named = {split: _named(tree) for split, tree in trees.items()}
    index = {name: label for label, name in enumerate(named["train"])}
    around = {parent for path in class_folders for parent in path.parents}
    places = {path for path in around.union(class_folders) if path.is_relative_to(folder)}
    files: dict[str, list[Path]] = {}
    labels: dict[str, list[int]] = {}
    for split, tree in named.items():
        files[split], labels[split] = [], []
        for name, class_folder in tree.items():
            found = _files(class_folder)
            if name not in index:
                raise UserError(f"{class_folder}: class without training images")
            files[split] += found
            labels[split] += [index[name]] * len(found)

    def read(split: str, indices: NDArray[np.int64]) -> Iterator[bytes]:
        return (file_bytes(files[split][position]) for position in indices)

    return Source(
        classes=tuple(index),
        splits={
            split: Entries(
                place=str(trees[split][0].parent),
                names=[str(path) for path in paths],
                labels=np.asarray(labels[split], np.int32),
            )
            for split, paths in files.items()
        },
        read=read,
        skipped={TEXTS: sorted(_texts(places))},
    )
