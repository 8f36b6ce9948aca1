"""What names of files and folders say: which split they are, and which files belong together."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from atcore.base.errors import UserError
from atcore.base.wording import some

# As in the library `datasets`, so that a file is here what it is on the Hugging Face hub: `dev` is
# validation, and `eval`, which people use for either of the two, is the test.
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}

SPLITS = tuple(_WORDS)
SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
UNDERSTOOD = "; ".join(", ".join(words) for words in _WORDS.values())

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LETTERS = re.compile(r"[^\W\d_]+")
# What may be a word for a split without anything that separates it: catstest, but also latest.
_JOINED = re.compile("train|test|valid", re.IGNORECASE)
_SHARD = re.compile(r"(.*?)(\d+)-of-(\d+)")


def split_words(name: str) -> set[str]:
    """The words for splits in a name, in small letters: `cats_Test` has test, `bestEvalSet2` eval.

    A word is a whole one: it stands between characters that are no letters, or capitals tell it
    from its neighbours; `set` and `data` may follow (`trainset`). `contest` has none.
    """
    words = _LETTERS.findall(_HUMP.sub(" ", name))
    return {re.sub("(set|data)$", "", word.lower()) for word in words} & SPLIT_OF.keys()


def by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files of each split that has any; all are for training where no name has a word for one.

    The names of folders count too, from the one on that has all files in it.

    Raises:
        UserError: a name has no such word where others have, perhaps joined to other letters; or
            it has words for different splits; or two names have different words for one split
            (`eval` beside `test` may well mean validation).
    """
    root = os.path.commonpath([path.parent for path in files])
    names = {path: path.relative_to(root).with_suffix("") for path in files}
    words = {path: split_words(str(name)) for path, name in names.items()}
    joined = len(files) > 1 and any(_JOINED.search(path.stem) for path in files)
    if not joined and not any(words.values()):
        return {"train": list(files)}
    members: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path, found in words.items():
        splits = {SPLIT_OF[word] for word in found}
        if len(splits) != 1:
            raise UserError(
                f"{path}: words for a split in its name: {', '.join(sorted(found)) or 'none'}; "
                f"give every file here one, apart from other letters; understood: {UNDERSTOOD}"
            )
        others = members[splits.pop()]
        if others and found != words[others[0]]:
            raise UserError(
                f"{path}: another word for the same split as in {others[0].name}; use one word for "
                f"each split; understood: {UNDERSTOOD}"
            )
        others.append(path)
    return {split: paths for split, paths in members.items() if paths}


def require_all_shards(files: Sequence[Path]) -> None:
    """Check that of files numbered as train-00000-of-00002 all are there, and each once.

    Raises:
        UserError: one is missing, or there are shards of two versions.
    """
    series: dict[tuple[Path, str], list[re.Match[str]]] = {}
    for path in files:
        if match := _SHARD.match(path.stem):
            series.setdefault((path.parent, match[1]), []).append(match)
    for (folder, name), shards in series.items():
        numbers, totals = [int(shard[2]) for shard in shards], {int(shard[3]) for shard in shards}
        total = max(totals)
        if len(totals) > 1 or len(set(numbers)) < len(numbers) or len(numbers) > total:
            raise UserError(
                f"{folder}: the files {name}N-of-M are not all of one version: "
                f"{some([shard.string for shard in shards])}; keep those of one"
            )
        first = 0 if 0 in numbers or total not in numbers else 1
        missing = sorted(set(range(first, first + total)) - set(numbers))
        if missing:
            width, of = len(shards[0][2]), shards[0][3]
            raise UserError(
                f"{folder}: of the {total} files {name}N-of-{of} {len(missing)} missing: "
                f"{some([f'{name}{number:0{width}}-of-{of}' for number in missing])}"
            )


def require_one_folder(split: str, files: Sequence[Path]) -> None:
    """Check that the files of a split lie together, as those of several folders are hardly one.

    Raises:
        UserError: they do not.
    """
    folders = sorted({str(path.parent) for path in files})
    if len(folders) > 1:
        raise UserError(
            f"{folders[0]}: {split} files lie here and in {some(folders[1:])}; keep those of one "
            f"folder, or name folders after splits; understood: {UNDERSTOOD}"
        )
