"""Tables of text (CSV, TSV) that name image files and their labels."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.sources import labels
from atcore.sources.entries import file_bytes
from atcore.sources.images import Images
from atcore.sources.naming import SPLIT_OF, UNDERSTOOD
from atcore.sources.shards import EMPTY, Shard

_DELIMITERS = (",", ";", "\t")
_EXCEL = "sep="
# Rows that tell which column names the files.
_TRIED = 1000


@dataclass(frozen=True)
class _Table:
    """A table of text: all rows have as many cells as there are columns.

    Attributes:
        columns: what the first row says, or their numbers, from 1 on.
        lines: numbers of the lines in the file, which end the rows.
    """

    columns: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        index = self.columns.index(name)
        return [row[index] for row in self.rows]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8; save it as such") from error


def _table(path: Path) -> _Table:
    """The rows as they are; the first one may have the names of the columns."""
    text = _text(path)
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    if first.startswith(_EXCEL):
        # Its line for the delimiter, whose place is kept for the numbers of the others.
        delimiter = first.removeprefix(_EXCEL)[:1] or delimiter
        text = text.removeprefix(first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows, lines = [], []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append(cells)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from error
    count = len(rows[0]) if rows else 0
    for row, line in zip(rows, lines, strict=True):
        if len(row) != count:
            raise UserError(
                f"{path}: line {line}: {len(row)} cells, where the first line has {count}"
            )
    return _Table([str(number + 1) for number in range(count)], rows, lines)


def _file_column(path: Path, table: _Table, images: Images, key: str | None) -> int:
    """The column of which most values are the names of a file."""

    def found(index: int) -> int:
        if table.rows[0][index] == key or labels.is_usual(table.rows[0][index]):
            return 0
        values = {row[index] for row in table.rows[:_TRIED]}
        return sum(images.may_mean(path, value) for value in values)

    best = max(range(len(table.columns)), key=found)
    if not found(best):
        raise UserError(
            f"{path}: no column with names of image files in {path.parent} or below; "
            f"its first line: {', '.join(table.rows[0])}; take the file out if it lists no images"
        )
    return best


def _headed(path: Path, table: _Table, file_column: int, images: Images) -> _Table:
    """The table with the names of its columns, which its first row has if that names no file."""
    first, *rows = table.rows
    if images.may_mean(path, first[file_column]):
        return table
    return _Table(first, rows, table.lines[1:])


def _splits(path: Path, table: _Table, column: str) -> list[str]:
    words = [word.lower() for word in table.column(column)]
    for line, word in zip(table.lines, words, strict=True):
        if word not in SPLIT_OF:
            raise UserError(
                f"{path}: line {line}: {column} {word!r} is no word for a split; understood: "
                f"{UNDERSTOOD}"
            )
    return [SPLIT_OF[word] for word in words]


def opener(path: Path, images: Images, key: str | None) -> Shard:
    """Open a table of text, whose first line may name its columns.

    Cells are separated by commas, semicolons or tabs. Image files are in the column of which most
    values name one (`Images`), labels in that which `labels.column` says; a column `split` says to
    which split an image belongs.

    Raises:
        UserError: the file is no such table, an image file is not there, or a word for a split is
            unknown.
    """
    table = _table(path)
    if not table.rows:
        return EMPTY
    file_column = _file_column(path, table, images, key)
    table = _headed(path, table, file_column, images)
    others = [name for index, name in enumerate(table.columns) if index != file_column]
    said = next((name for name in others if name.lower() == "split"), None)
    possible = [name for name in others if name != said]
    label = labels.column(path, table.columns, (possible,), key)
    labels.only(path, table.columns, label)
    files = images.paths(
        path,
        [row[file_column] for row in table.rows],
        lambda row: f"{path}: line {table.lines[row]}",
    )

    def read(rows: NDArray[np.int64]) -> Iterator[bytes]:
        return (file_bytes(files[row]) for row in rows)

    return Shard(
        names=list(map(str, files)),
        labels=labels.of_names(table.column(label)),
        read=read,
        files=files,
        splits=None if said is None else _splits(path, table, said),
    )
