"""Labels as people write them: names, numbers, or nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import decimal

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError

# As in the library `datasets`, the number of an image without a label.
UNLABELLED = -1
# What their column is called where nobody says it, in small letters.
_USUAL = ("label", "labels")


class NoLabelsError(UserError):
    """A file has images, but nothing that may be their labels."""


@dataclass(frozen=True)
class Labels:
    """The labels of some images.

    Attributes:
        codes: int32, N, indices into `classes`; UNLABELLED where an image has none.
        classes: names of classes, without repetition.
        listed: whether the classes are listed, whether or not an image has them, in an order.
    """

    codes: NDArray[np.int32]
    classes: tuple[str, ...]
    listed: bool = False


def word(name: str) -> str:
    """The name of a class, on one line."""
    return " ".join(name.split())


def of_names(names: Iterable[str | None]) -> Labels:
    """Labels that are names of classes, N; None, an empty one or -1 where an image has none."""
    codes: dict[str, int] = {}
    labels = []
    for name in names:
        label = word(name or "")
        unlabelled = label in ("", str(UNLABELLED))
        labels.append(UNLABELLED if unlabelled else codes.setdefault(label, len(codes)))
    return Labels(np.asarray(labels, np.int32), tuple(codes))


def of_numbers(
    numbers: NDArray[np.int64], classes: tuple[str, ...] | None, called: Callable[[int], str]
) -> Labels:
    """Labels that are numbers of classes, N, or their names where no classes are listed.

    Args:
        called: how messages call the label of an image.

    Raises:
        UserError: a number is neither a class's nor UNLABELLED.
    """
    if classes is None:
        wrong, allowed = numbers < UNLABELLED, "a class's number"
    else:
        wrong = (numbers < UNLABELLED) | (numbers >= len(classes))
        allowed = f"in 0..{len(classes) - 1}"
    for row in np.flatnonzero(wrong):
        raise UserError(f"{called(int(row))} {numbers[row]} is not {allowed}")
    if classes is None:
        return of_names(map(str, numbers.tolist()))
    return Labels(numbers.astype(np.int32), classes, listed=True)


def _value(number: str) -> tuple[int, str]:
    """What orders decimal numbers of any length; int() reads only some thousand digits."""
    digits = "".join(str(decimal(digit)) for digit in number).lstrip("0")
    return len(digits), digits


def ordered(classes: Iterable[str]) -> list[str]:
    """Names of classes in the order of the alphabet, or of their numbers if all are numbers."""
    names = sorted(classes)
    return sorted(names, key=_value) if all(map(str.isdecimal, names)) else names


def is_usual(column: str) -> bool:
    """Whether a column is called as labels usually are."""
    return column.lower() in _USUAL


def only(place: Path, columns: Sequence[str], name: str) -> str:
    """The name of a column that is to be read, which no other may have.

    Args:
        place: the file, for messages.

    Raises:
        UserError: another one has it.
    """
    count = columns.count(name)
    if count > 1:
        raise UserError(
            f"{place}: {count} columns have the name {name!r}; rename or remove all but one"
        )
    return name


def column(
    place: Path, columns: Sequence[str], groups: Sequence[Sequence[str]], key: str | None
) -> str:
    """Which of the columns has the labels.

    That is the one that `key` names; else the one that is called `label` or `labels`; else the only
    one of the first group that has any.

    Args:
        place: the file, for messages.
        groups: columns that may have them, likely ones first.
        key: the value of `label` in params.yaml.

    Raises:
        NoLabelsError: there is none.
        UserError: there is more than one.
    """
    found = ", ".join(columns)
    if key is not None:
        if key not in columns:
            raise NoLabelsError(
                f"{place}: no column {key}, which the dataset's `label` names; columns: {found}"
            )
        return key
    usual = [name for name in columns if is_usual(name)]
    for group in (usual, *groups):
        if len(set(group)) > 1:
            raise UserError(
                f"{place}: labels may be in the columns {', '.join(group)}; let the dataset's "
                "`label` in params.yaml name one"
            )
        if group:
            return only(place, group, group[0])
    raise NoLabelsError(f"{place}: no labels in it, such as a column label; columns: {found}")
