"""Image tables for workers on any node: each node gets a table once, whoever works there.

A worker that sees the workspace's file reads that. On another node the first one that needs the
table fetches the file, in pieces from the workspace's node, into a folder of the node's user; the
others wait for it. The file is named by the hash of its content, so that all stages and runs share
it, and held against its checksums before it gets that name.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images.stored import Rows, StoredTable
from atcore.images.table import ImageTable
from tasks.cluster import pool

_PIECE = 16 * 2**20
_GIGABYTE = 10**9


def _folder() -> Path:
    """Where this node keeps tables."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches, "atcnn", "tables")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Whoever holds the lock and dies gives it back."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_room(folder: Path, size: int, limit: int) -> None:
    """Remove the tables that were used the longest ago, until there is room for another one.

    Who reads one of them has it open and reads on.
    """
    kept = sorted(folder.glob("*.arrow"), key=lambda file: file.stat().st_mtime)
    used = sum(file.stat().st_size for file in kept)
    while kept and used + size > limit:
        used -= kept[0].stat().st_size
        kept.pop(0).unlink(missing_ok=True)


@dataclass(frozen=True)
class SharedTable:
    """A table of the workspace on its way to workers.

    Attributes:
        path: of the file in the workspace, absolute.
        digest: of the table.
        size: of the file in bytes.
        node: id of the workspace's node.
        limit: bytes of all tables that another node keeps.
    """

    path: Path
    digest: str
    size: int
    node: str
    limit: int

    def rows(self, part: Rows) -> ImageTable:
        """Some of the rows; everything else as `open`."""
        return self.open().rows(part)

    def open(self) -> StoredTable:
        """The table, on the node where this is called.

        Raises:
            UserError: the table is larger than a node may keep, was damaged on its way, or the
                workspace's file is another one by now.
        """
        if os.access(self.path, os.R_OK) and (mine := StoredTable(self.path)).digest == self.digest:
            return mine
        folder = _folder()
        file = folder / f"{self.digest}.arrow"
        with _locked(folder / f"{self.digest}.lock"):
            if not file.exists():
                self._fetch(file)
            # When it was used.
            file.touch()
            return StoredTable(file)

    def _fetch(self, file: Path) -> None:
        if self.size > self.limit:
            raise UserError(
                f"ray.cache: {self.limit / _GIGABYTE:g} GB are too few; "
                f"{self.path} has {self.size / _GIGABYTE:.3f}"
            )
        _make_room(file.parent, self.size, self.limit)
        piece: Any = ray.remote(num_cpus=0)(_piece)
        there = piece.options(scheduling_strategy=pool.only_on(self.node))
        with replacing(file) as temporary:
            with temporary.open("wb") as written, pool.users_mistakes():
                for start in range(0, self.size, _PIECE):
                    written.write(ray.get(there.remote(self, start)))
            arrived = StoredTable(temporary)
            if arrived.digest != self.digest:
                raise UserError(f"{self.path}: changed while it was read; run the stage again")
            try:
                for _ in arrived.verified():
                    pass
            except UserError as error:
                raise UserError(
                    f"{self.path}: damaged, here or on its way to another node; "
                    "remove it and run the stage again that wrote it"
                ) from error


def _piece(table: SharedTable, start: int) -> bytes:
    """Of the workspace's file, on its node."""
    with table.path.open("rb") as file:
        file.seek(start)
        return file.read(_PIECE)


def shared(table: StoredTable, gigabytes: float) -> SharedTable:
    """A table for workers of the connected cluster, of which other nodes keep some `gigabytes`."""
    return SharedTable(
        path=table.path.absolute(),
        digest=table.digest,
        size=table.path.stat().st_size,
        node=pool.node(),
        limit=int(gigabytes * _GIGABYTE),
    )
