"""Tar archives in the layout of the library WebDataset: 0001.jpg beside 0001.cls."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.wording import some
from atcore.sources import labels, tar
from atcore.sources.entries import is_image_name, is_no_data
from atcore.sources.images import Images
from atcore.sources.shards import EMPTY, Shard

_TEXTS = ("cls", "txt", "text")
# Of a member: the key, which its sample shares, and its ending, which begins at the first dot.
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")

# What of a sample has which ending.
_Sample = dict[str, Callable[[], bytes]]


@dataclass(frozen=True)
class _Members:
    """What is in an archive: samples by their key, and names of what belongs to none."""

    samples: dict[str, _Sample]
    left: list[str]
    others: list[str]

    @classmethod
    def of(cls, members: _Sample) -> "_Members":
        found = cls({}, [], [])
        for name, read in members.items():
            match = _NAME.fullmatch(name)
            if any(map(is_no_data, name.split("/"))):
                found.left.append(name)
            elif match:
                found.samples.setdefault(match[1], {})[match[2].lower()] = read
            else:
                found.others.append(name)
        return found


class _Labels:
    """What samples have beside their image: texts by their ending, values in JSON by their key."""

    def __init__(self, path: Path, samples: Mapping[str, _Sample], key: str | None) -> None:
        self._path = path
        endings = list(dict.fromkeys(ending for sample in samples.values() for ending in sample))
        self._fields = {
            name: self._json(name, sample) for name, sample in samples.items() if "json" in sample
        }
        # The kinds of values of each key of JSON.
        fields: dict[str, set[type]] = {}
        for values in self._fields.values():
            for each, value in values.items():
                fields.setdefault(each, set()).add(type(value))
        likely = [name for name in endings if name == "cls"]
        possible = [name for name in endings if name in _TEXTS]
        possible += [name for name, kinds in fields.items() if {str, int} >= kinds - {type(None)}]
        self._column = labels.column(path, [*endings, *fields], (likely, possible), key)
        self._in_json = self._column not in endings

    def _text(self, name: str, sample: _Sample, ending: str) -> str:
        try:
            return sample[ending]().decode("utf-8-sig")
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
        value = self._fields.get(name, {}).get(self._column)
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
    found = _Members.of(tar.members(path))
    pictures: dict[str, Callable[[], bytes]] = {}
    for name, sample in found.samples.items():
        endings = [ending for ending in sample if is_image_name(f"{name}.{ending}")]
        if len(endings) > 1:
            raise UserError(f"{path}: {name}: several images: {some(endings)}; keep one")
        if endings:
            pictures[name] = sample[endings[0]]
    if not pictures:
        return EMPTY
    beside = _Labels(path, {name: found.samples[name] for name in pictures}, key)
    names = list(pictures)

    def read(rows: NDArray[np.int64]) -> Iterator[bytes]:
        return (pictures[names[row]]() for row in rows)

    return Shard(
        names=[f"{path}: {name}" for name in names],
        labels=labels.of_names(beside.of(name, found.samples[name]) for name in names),
        read=read,
        skipped={
            "files in archives without an image": [
                *(f"{path}: {name}" for name in found.others),
                *(f"{path}: {name}" for name in found.samples if name not in pictures),
            ],
            "in archives, hidden or left by systems": [f"{path}: {name}" for name in found.left],
        },
    )
