"""Image files that a table of labels names."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from unicodedata import normalize

from atcore.base.errors import UserError
from atcore.base.wording import some
from atcore.sources.naming import split_words

_DRIVE = re.compile("^[A-Za-z]:(?=/)")


def _known(name: str) -> str:
    """A name as one writes it here: with slashes, without a drive, all letters composed."""
    return normalize("NFC", _DRIVE.sub("", name.replace("\\", "/")))


class Images:
    """The files in a dataset's folder, to be found by what tables that lie there call them."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._folder = folder
        self._by_place = {os.path.abspath(path): path for path in files}
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            for name in {path.name, path.stem}:
                self._by_name[_known(name).lower()].append(path)

    def _words(self, path: Path) -> set[str]:
        return split_words(str(path.relative_to(self._folder).with_suffix("")))

    def candidates(self, table: Path, name: str) -> list[Path]:
        """The files that may be meant: one if it can be told.

        A name is absolute, or begins in the folder of the table or in one below. Its ending may be
        absent, and its letters large or small, composed or not. Of several such files those are
        meant that lie in a folder for the table's split.
        """
        place = os.path.abspath(table.parent / name)
        if place in self._by_place:
            return [self._by_place[place]]
        if os.path.isfile(place):
            return [Path(place)]
        end = "/" + _known(name).removeprefix("./").lower()
        found = [
            path
            for path in self._by_name.get(end.rpartition("/")[2], ())
            if any(_known(str(each)).lower().endswith(end) for each in (path, path.with_suffix("")))
        ]
        own = self._words(table)
        return [path for path in found if own and self._words(path) >= own] or found

    def may_mean(self, table: Path, name: str) -> bool:
        """Whether a name is that of a file here, or may have been on another machine."""
        place, _, last = _known(name).lower().rpartition("/")
        return bool(self.candidates(table, name)) or (
            place.startswith("/") and last in self._by_name
        )

    def _moved(self, table: Path, names: Sequence[str]) -> dict[str, list[Path]]:
        """The files that absolute names of another machine may mean: those that end as they do.

        All names lose the folders that they begin with in common, but keep a folder each.
        """
        known = {name: _known(name) for name in names}
        folders = {os.path.dirname(name) for name in known.values()}
        root = os.path.commonpath(folders)
        start = os.path.dirname(root) if root in folders else root
        return {
            name: self.candidates(table, os.path.relpath(each, start))
            for name, each in known.items()
        }

    def paths(self, table: Path, names: Sequence[str], called: Callable[[int], str]) -> list[Path]:
        """The files that rows of the table name, in their order.

        Args:
            called: how messages call a row.

        Raises:
            UserError: a file is not there, or may be one of several.
        """
        found = {name: self.candidates(table, name) for name in names}
        absolute = [name for name in found if os.path.isabs(_known(name))]
        if not all(found[name] for name in absolute):
            found |= self._moved(table, absolute)
        missing = [row for row, name in enumerate(names) if not found[name]]
        if missing:
            raise UserError(
                f"{called(missing[0])}: no image file {names[missing[0]]!r} in {table.parent} or "
                f"below; missing: {len(missing):,} of {len(names):,}; put them there with their "
                "folders, or take such rows out"
            )
        for row, name in enumerate(names):
            if len(found[name]) > 1:
                raise UserError(
                    f"{called(row)}: {name!r} may be {some(list(map(str, found[name])))}; write "
                    "its folder too"
                )
        return [found[name][0] for name in names]
