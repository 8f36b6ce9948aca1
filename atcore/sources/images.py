"""Image files that a table of labels names."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from atcore.base.errors import UserError
from atcore.base.wording import some
from atcore.sources.naming import split_words


class Images:
    """The files in a dataset's folder, to be found by what tables that lie there call them."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            for name in {path.name.lower(), path.stem.lower()}:
                self._by_name[name].append(path)

    def _words(self, path: Path) -> set[str]:
        return split_words(str(path.relative_to(self._folder).with_suffix("")))

    def candidates(self, table: Path, name: str) -> list[Path]:
        """The files that may be meant: one if it can be told.

        A name is absolute, or begins in the folder of the table or in one below. Its ending may be
        absent, and its letters large or small. Of several such files those are meant that lie in a
        folder for the table's split.
        """
        exact = table.parent / name
        if os.path.isfile(exact):
            return [exact]
        end = "/" + name.replace("\\", "/").removeprefix("./").lower()
        found = [
            path
            for path in self._by_name.get(end.rpartition("/")[2], ())
            if str(path).lower().endswith(end) or str(path.with_suffix("")).lower().endswith(end)
        ]
        own = self._words(table)
        return [path for path in found if own and self._words(path) >= own] or found

    def _moved(self, table: Path, names: Sequence[str]) -> dict[str, list[Path]]:
        """The files that absolute names of another machine may mean: those that end as they do.

        All names lose the folders that they begin with in common, but keep a folder each.
        """
        folders = {os.path.dirname(name) for name in names}
        root = os.path.commonpath(folders)
        start = os.path.dirname(root) if root in folders else root
        return {name: self.candidates(table, os.path.relpath(name, start)) for name in names}

    def paths(self, table: Path, names: Sequence[str], called: Callable[[int], str]) -> list[Path]:
        """The files that rows of the table name, in their order.

        Args:
            called: how messages call a row.

        Raises:
            UserError: a file is not there, or may be one of several.
        """
        found = {name: self.candidates(table, name) for name in names}
        absolute = list(filter(os.path.isabs, found))
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
