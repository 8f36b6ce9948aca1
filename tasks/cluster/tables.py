"""Image tables for workers on any node: each node gets a table once, whoever works there.

A worker that sees the workspace's file reads that. On another node the first one that needs the
table fetches the file, in pieces from the workspace's node, into a folder of the node's user; the
others wait for it. The file is named by the hash of its content, so that all stages and runs share
it, and held against its checksums before it gets that name.
"""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images.stored import Rows, StoredTable
from atcore.images.table import ImageTable
from tasks.cluster import pool
from tasks.processes import disk

_PIECE = 16 * 2**20
_GIGABYTE = 10**9


def _folder() -> Path:
    """Where this node keeps tables."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "atcnn", "tables")
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows the home.
        if disk.is_full(error):
            raise
        raise UserError(
            f"{folder}: the node {socket.gethostname()} cannot keep image tables there; "
            "start it with another XDG_CACHE_HOME"
        ) from error
    return folder


@contextmanager
def _locked(file: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Whoever holds the lock and dies gives it back."""
    with file.open("w") as lock:
        fcntl.flock(lock, how)
        yield


def _used(folder: Path) -> int:
    """Bytes of all tables in a folder, with those that are still on their way."""
    used = 0
    for file in folder.rglob("*.arrow"):
        with suppress(FileNotFoundError):  # It has arrived this moment.
            used += file.stat().st_size
    return used


def _remove_abandoned(folder: Path) -> None:
    """Remove what workers that were killed have left of tables on their way."""
    for part in folder.glob(".*.arrow.writing-*"):
        lock = folder / f"{part.name.split('.')[1]}.lock"
        # Who writes it holds the lock, and has removed it when he gives that back.
        with (
            suppress(BlockingIOError, FileNotFoundError),
            _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            shutil.rmtree(part)


def _make_room(folder: Path, size: int, limit: int) -> None:
    """Remove the tables that were used the longest ago, until there is room for another one.

    Who reads one of them has it open and reads on.
    """
    _remove_abandoned(folder)
    oldest_last = sorted(folder.glob("*.arrow"), key=lambda file: -file.stat().st_mtime)
    while oldest_last and _used(folder) + size > limit:
        oldest_last.pop().unlink()


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
            UserError: this node cannot keep tables, or none as large as this one, or what came of
                the workspace's file is damaged or another table.
        """
        if os.access(self.path, os.R_OK) and (mine := StoredTable(self.path)).digest == self.digest:
            return mine
        file = _folder() / f"{self.digest}.arrow"
        with _locked(file.with_suffix(".lock")):
            while (table := self._kept(file)) is None:
                self._fetch(file)
            return table

    def _kept(self, file: Path) -> StoredTable | None:
        """The table if this node has it; who has it open need not care when it is removed."""
        with _locked(file.with_name("lock")):
            if not file.exists():
                return None
            os.utime(file)
            return StoredTable(file)

    def _fetch(self, file: Path) -> None:
        if self.size > self.limit:
            raise UserError(
                f"ray.cache: {self.limit / _GIGABYTE:g} GB are too few; "
                f"{self.path} has {self.size / _GIGABYTE:.3f}"
            )
        piece: Any = ray.remote(num_cpus=0)(_piece)
        there = piece.options(scheduling_strategy=pool.only_on(self.node))
        with replacing(file) as temporary:
            with temporary.open("wb") as written, pool.users_mistakes():
                with _locked(file.with_name("lock")):
                    _make_room(file.parent, self.size, self.limit)
                    os.posix_fallocate(written.fileno(), 0, self.size)
                for start in range(0, self.size, _PIECE):
                    written.write(ray.get(there.remote(self, start)))
            if not self._is(temporary):
                raise UserError(
                    f"{self.path}: damaged, or another one since the stage began; "
                    "run again the stage that writes it, then this one"
                )

    def _is(self, file: Path) -> bool:
        """Whether a file is the whole table, undamaged."""
        try:
            found = StoredTable(file)
            found.verify()
        except UserError:
            return False
        return found.digest == self.digest


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
