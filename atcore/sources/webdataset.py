"""Tar archives in the layout of the library WebDataset: 0001.jpg beside 0001.cls."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.sources import labels, tar
from atcore.sources.entries import is_no_data
from atcore.sources.images import Images
from atcore.sources.shards import EMPTY, Shard

_IMAGES = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"}
_TEXTS = ("cls", "txt", "text")
# Of a member: the key, which its sample shares, and its ending, which begins at the first dot.
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")

# What of a sample has which ending.
_Sample = dict[str, Callable[[], bytes]]


def _is_image(ending: str) -> bool:
    return ending.rpartition(".")[2] in _IMAGES


def _samples(members: _Sample) -> tuple[dict[str, _Sample], list[str]]:
    """Samples by their key, and names of what belongs to none."""
    samples: dict[str, _Sample] = {}
    others = []
    for name, read in members.items():
        match = _NAME.fullmatch(name)
        if match and not is_no_data(name.rpartition("/")[2]):
            samples.setdefault(match[1], {})[match[2].lower()] = read
        else:
            others.append(name)
    return samples, others


class _Labels:
    """What samples have beside their image: texts by their ending, values in JSON by their key."""

    def __init__(self, path: Path, samples: Mapping[str, _Sample], key: str | None) -> None:
        self._path = path
        endings = list(dict.fromkeys(ending for sample in samples.values() for ending in sample))
        fields: Mapping[str, Any] = {}
        if "json" in endings:
            first = next(name for name, sample in samples.items() if "json" in sample)
            fields = self._json(first, samples[first])
        likely = [name for name in endings if name == "cls"]
        possible = [name for name in endings if name in _TEXTS]
        possible += [name for name, value in fields.items() if isinstance(value, str | int)]
        self._column = labels.column(path, [*endings, *fields], (likely, possible), key)
        self._in_json = self._column not in endings

    def _text(self, name: str, sample: _Sample, ending: str) -> str:
        try:
            return sample[ending]().decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self._path}: {name}.{ending}: not UTF-8") from error

    def _json(self, name: str, sample: _Sample) -> Mapping[str, Any]:
        try:
            found = json.loads(self._text(name, sample, "json"))
        except ValueError as error:
            raise UserError(f"{self._path}: {name}.json: not JSON: {error}") from error
        if not isinstance(found, dict):
            raise UserError(f"{self._path}: {name}.json: {type(found).__name__}, not an object")
        return found

    def of(self, name: str, sample: _Sample) -> str | None:
        """The label of a sample, if it has one.

        Raises:
            UserError: it cannot be understood.
        """
        if not self._in_json:
            return self._text(name, sample, self._column) if self._column in sample else None
        value = self._json(name, sample).get(self._column) if "json" in sample else None
        if value is not None and not isinstance(value, str | int):
            raise UserError(
                f"{self._path}: {name}.json: {self._column} is {json.dumps(value)}, neither the "
                "number nor the name of a class"
            )
        return None if value is None else str(value)


def opener(path: Path, _images: Images, key: str | None) -> Shard:
    """Open a tar archive of samples: files that have all of their name but its ending in common.

    Labels are numbers or names of classes: the text of `cls`, else of `txt`, or a value in `json`,
    as `labels.column` says.

    Raises:
        UserError: the archive is damaged, a sample has several images, or a label cannot be
            understood.
    """
    samples, others = _samples(tar.members(path))
    pictures: dict[str, Callable[[], bytes]] = {}
    for name, sample in samples.items():
        endings = [ending for ending in sample if _is_image(ending)]
        if len(endings) > 1:
            raise UserError(f"{path}: {name}: several images: {', '.join(endings)}; keep one")
        if endings:
            pictures[name] = sample[endings[0]]
    if not pictures:
        return EMPTY
    beside = _Labels(path, {name: samples[name] for name in pictures}, key)
    names = list(pictures)

    def read(rows: NDArray[np.int64]) -> Iterator[bytes]:
        return (pictures[names[row]]() for row in rows)

    return Shard(
        names=[f"{path}: {name}" for name in names],
        labels=labels.of_names(beside.of(name, samples[name]) for name in names),
        read=read,
        skipped={
            "files in archives without an image": [
                *(f"{path}: {name}" for name in others),
                *(f"{path}: {name}" for name in samples if name not in pictures),
            ]
        },
    )
