"""Files that hold, or name, many labelled images each: what formats of such files share."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.wording import some
from atcore.sources.entries import (
    TEXTS,
    Entries,
    Source,
    below,
    contents,
    format_hint,
    is_image_name,
    is_text,
)
from atcore.sources.images import Images
from atcore.sources.labels import UNLABELLED, Labels, NoLabelsError, of_names, ordered
from atcore.sources.naming import SPLITS, by_split, require_all_shards, require_one_folder


@dataclass(frozen=True)
class Shard:
    """One file.

    Attributes:
        names: N, how messages call an image.
        labels: of these images.
        read: yields the encoded bytes of the images in these rows, int64, ascending; empty where a
            row has none. Raises UserError where a file is damaged.
        files: image files that it names.
        splits: to which split each image belongs, N; None: to that which the name of the file says.
        skipped: names of what else is in it, by what it is.
    """

    names: Sequence[str]
    labels: Labels
    read: Callable[[NDArray[np.int64]], Iterator[bytes]]
    files: Collection[Path] = ()
    splits: Sequence[str] | None = None
    skipped: Mapping[str, Sequence[str]] = field(default_factory=dict)


EMPTY = Shard(names=(), labels=of_names(()), read=lambda _rows: iter(()))
# Opens a file, given the dataset's image files and the `label` of params.yaml.
Opener = Callable[[Path, Images, str | None], Shard]


_OF_FOLDERS = "; of images in a folder for each class the dataset's `format` is folder"


def within(rows: NDArray[np.int64], start: int, count: int) -> NDArray[np.int64]:
    """Those of the ascending rows in start..start + count - 1, counted from `start`."""
    low, high = np.searchsorted(rows, (start, start + count))
    return rows[low:high] - start


def _named(labels: Labels) -> str:
    return some(labels.classes) if labels.listed else "numbers or names without a list"


def _classes(shards: Mapping[Path, Shard]) -> tuple[list[str], list[str]]:
    """Names of the classes that have images, and of listed ones that do not."""
    labelled = {
        path: shard.labels
        for path, shard in shards.items()
        if (shard.labels.codes != UNLABELLED).any()
    }
    if not labelled:
        return [], []
    first = next(iter(labelled))
    listed = labelled[first].classes if labelled[first].listed else None
    for path, labels in labelled.items():
        if (labels.classes if labels.listed else None) != listed:
            raise UserError(
                f"{path}: its class names ({_named(labels)}) differ from those of {first} "
                f"({_named(labelled[first])}); let all files list the same, or none"
            )
    used = {
        labels.classes[code]
        for labels in labelled.values()
        for code in np.unique(labels.codes)
        if code != UNLABELLED
    }
    names = listed or ordered(used)
    return [name for name in names if name in used], [name for name in names if name not in used]


def _coded(labels: Labels, rows: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.int32]:
    """The labels in some rows, which all have one, as indices into these classes."""
    index = {name: code for code, name in enumerate(classes)}
    codes = np.array([index.get(name, UNLABELLED) for name in labels.classes], np.int32)
    return codes[labels.codes[rows]]


def _splits(
    shards: Mapping[Path, Shard], members: Mapping[str, Sequence[Path]]
) -> dict[str, dict[Path, NDArray[np.int64]]]:
    """The rows of each file, ascending, with the labelled images of each split that has any."""
    splits: dict[str, dict[Path, NDArray[np.int64]]] = {}
    for named in SPLITS:
        for path in members.get(named, ()):
            if path not in shards:
                continue
            shard = shards[path]
            labelled = shard.labels.codes != UNLABELLED
            said = np.array(shard.splits or [named] * len(labelled))
            for split in SPLITS:
                rows = np.flatnonzero(labelled & (said == split))
                if len(rows):
                    splits.setdefault(split, {})[path] = rows
    return {split: splits[split] for split in SPLITS if split in splits}


def _skipped(shards: Sequence[Shard], others: Sequence[Path]) -> dict[str, list[str]]:
    """What is no labelled image in these files, and beside them."""
    named = {path for shard in shards for path in shard.files}
    skipped: dict[str, list[str]] = {
        "images without a label": [
            shard.names[row]
            for shard in shards
            for row in np.flatnonzero(shard.labels.codes == UNLABELLED).tolist()
        ],
        TEXTS: [str(path) for path in others if is_text(path)],
        "other files": [str(path) for path in others if path not in named and not is_text(path)],
    }
    for shard in shards:
        for what, names in shard.skipped.items():
            skipped.setdefault(what, []).extend(names)
    return skipped


def _opened(
    members: Mapping[str, Sequence[Path]], opener: Callable[[Path], Shard]
) -> tuple[dict[Path, Shard], list[str]]:
    """Files by name, and names of the files of splits that have no labels at all."""
    found: dict[Path, Shard] = {}
    without: list[str] = []
    for split, paths in members.items():
        errors = []
        for path in paths:
            try:
                found[path] = opener(path)
            except NoLabelsError as error:
                errors.append(error)
        if errors and (split == "train" or len(errors) < len(paths)):
            raise errors[0]
        without += [str(path) for path in paths if path not in found]
    return dict(sorted(found.items())), without


def load(folder: Path, endings: Sequence[str], opener: Opener, label: str | None) -> Source:
    """List the images of all files in `folder`, at any depth, that have one of these endings.

    Files belong to the split that a word in their names, or in those of their folders, says
    (`naming`); without such words all are for training. Images without a label are left out, and so
    is a split without labels. Classes are those that have images, in the order in which files list
    them, else in that of their names.

    Raises:
        UserError: there is no such file, or no images in them; a name does not say which split it
            is, a shard is absent, files disagree on the class names; and what `opener` raises.
    """
    contents(folder)
    files = below(folder)
    paths = [path for path in files if path.suffix.lower() in endings]
    others = [path for path in files if path.suffix.lower() not in endings]
    if not paths:
        are_images = any(is_image_name(path.name) for path in others)
        raise UserError(
            f"{folder}: no file *{' or *'.join(endings)} in it, but "
            f"{some([str(path.relative_to(folder)) for path in others]) or 'folders only'}"
            f"{format_hint(others)}{_OF_FOLDERS if are_images else ''}"
        )
    require_all_shards(paths)
    members = by_split(paths)
    for split, own in members.items():
        require_one_folder(split, own)
    images = Images(folder, others)
    opened, without_labels = _opened(members, lambda path: opener(path, images, label))
    shards = {path: shard for path, shard in opened.items() if shard.names}
    if not shards:
        raise UserError(f"{folder}: no images in {some([path.name for path in paths])}")
    classes, without_images = _classes(shards)
    splits = _splits(shards, members)

    def read(split: str, indices: NDArray[np.int64]) -> Iterator[bytes]:
        start = 0
        for path, rows in splits[split].items():
            wanted = rows[within(indices, start, len(rows))]
            start += len(rows)
            if len(wanted):
                yield from shards[path].read(wanted)

    return Source(
        classes=tuple(classes),
        splits={
            split: Entries(
                place=some([path.name for path in parts]),
                names=[
                    shards[path].names[row] for path, rows in parts.items() for row in rows.tolist()
                ],
                labels=np.concatenate(
                    [_coded(shards[path].labels, rows, classes) for path, rows in parts.items()]
                ),
            )
            for split, parts in splits.items()
        },
        read=read,
        skipped={
            "classes without images": without_images,
            "files without labels": without_labels,
            "files without images": [str(path) for path in opened if path not in shards],
            **_skipped(list(shards.values()), others),
        },
    )
