"""Tables on nodes that do not see the workspace: fetched once, whole, and within a limit."""

import fcntl
import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_tables import image_table
from pipeline_workspace import wait_until

from atcore.images.stored import StoredTable, write
from tasks.cluster import pool
from tasks.cluster.tables import SharedTable, shared

PROJECT = Path(__file__).parents[3]
READER = Path(__file__).with_name("blind_reader.py")
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
pytestmark = pytest.mark.usefixtures("ray_cluster")


@dataclass(frozen=True)
class Node:
    """A folder that nobody on another node sees, and that node's own folder of tables."""

    workspace: Path
    cache: Path

    def share(self, name: str, *, count: int = 300, limit: float = 1) -> SharedTable:
        """A table of 60 px images; equal names give equal tables."""
        path = self.workspace / f"{name}.arrow"
        write(image_table(count, side=60, seed=sum(name.encode())), path)
        with pool.connect():
            return shared(StoredTable(path), limit)

    @contextmanager
    def reading(self, *wanted: SharedTable) -> Iterator[subprocess.Popen[str]]:
        command = [*UNSHARE, sys.executable, str(READER), str(self.workspace)]
        with subprocess.Popen(
            [*command, *(pickle.dumps(table).hex() for table in wanted)],
            env=os.environ | {"XDG_CACHE_HOME": str(self.cache), "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def read(self, *wanted: SharedTable) -> list[dict[str, Any]]:
        """What came of each."""
        with self.reading(*wanted) as process:
            return results(process)

    @property
    def kept(self) -> set[str]:
        """The tables in the folder, with those on their way."""
        return {path.name for path in self.cache.rglob("*.arrow")}


def results(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    output, _ = process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def is_of(found: Mapping[str, Any], table: SharedTable) -> bool:
    images = StoredTable(table.path).images[:]
    return found["digest"] == table.digest and found["sum"] == images.sum()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    if subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount anything, not even in an own namespace")
    for name in ("workspace", "cache"):
        (tmp_path / name).mkdir()
    return Node(tmp_path / "workspace", tmp_path / "cache")


def test_who_sees_the_workspace_reads_its_file(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(node.cache))
    table = node.share("a")
    assert table.open().path == table.path
    rows = np.array([7, 2, 2])
    expected = StoredTable(table.path).images[rows]
    assert np.array_equal(table.rows(rows).images, expected)
    assert node.kept == set()


def test_others_fetch_a_table_once(node: Node) -> None:
    table = node.share("a")
    (first,) = node.read(table)
    assert is_of(first, table)
    assert node.kept == {f"{table.digest}.arrow"}
    table.path.unlink()
    assert node.read(table) == [first]


def test_several_who_need_it_at_once_wait_for_one_who_fetches_it(node: Node) -> None:
    table = node.share("a")
    with node.reading(table) as one, node.reading(table) as two:
        first, second = results(one), results(two)
    assert first == second
    assert is_of(first[0], table)
    assert node.kept == {f"{table.digest}.arrow"}


def die_fetching(node: Node, table: SharedTable) -> None:
    with node.reading(table) as process:
        wait_until(lambda: node.kept, "a part of the table")
        process.kill()
        process.wait()


def test_who_dies_while_fetching_leaves_it_to_the_next(node: Node) -> None:
    table = node.share("a", count=9000)
    die_fetching(node, table)
    assert f"{table.digest}.arrow" not in {path.name for path in tables_in(node)}
    (found,) = node.read(table)
    assert is_of(found, table)
    assert node.kept == {f"{table.digest}.arrow"}


def test_what_the_dead_left_on_its_way_costs_no_table_its_place(node: Node) -> None:
    left = node.share("left", count=9000)
    die_fetching(node, left)
    assert node.kept == {f"{left.digest}.arrow"}
    a, b = (node.share(name, limit=left.size / 1e9) for name in "ab")
    with (node.cache / "atcnn/tables" / f"{left.digest}.lock").open() as lock:
        # As long as somebody is at it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        node.read(a)
        assert node.kept == {f"{table.digest}.arrow" for table in (left, a)}
    node.read(b)
    assert node.kept == {f"{table.digest}.arrow" for table in (a, b)}


@pytest.mark.parametrize("cache", ["/proc/cache", "/dev/null", "~nobody-of-this-name"])
def test_a_folder_where_nothing_can_be_kept_is_named(node: Node, cache: str) -> None:
    (found,) = replace(node, cache=Path(cache)).read(node.share("a"))
    assert found["error"] == (
        f"{cache}/atcnn/tables: the node {socket.gethostname()} cannot keep image tables there; "
        "start it with another XDG_CACHE_HOME"
    )


def tables_in(node: Node) -> list[Path]:
    return list((node.cache / "atcnn" / "tables").glob("*.arrow"))


def test_tables_that_were_not_used_for_long_make_room(node: Node) -> None:
    size = node.share("a").size
    a, b, c = (node.share(name, limit=2.5 * size / 1e9) for name in "abc")
    for found, table in zip(node.read(a, b, a, c), (a, b, a, c), strict=True):
        assert is_of(found, table)
    assert node.kept == {f"{table.digest}.arrow" for table in (a, c)}


def test_what_cannot_be_fetched_is_named_and_leaves_nothing(node: Node) -> None:
    large = node.share("large", limit=0.001)
    damaged, changed, shorter = map(node.share, ("damaged", "changed", "shorter"))
    data = bytearray(damaged.path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.path.write_bytes(data)
    write(image_table(300, side=60, seed=5), changed.path)
    write(image_table(200, side=60), shorter.path)
    errors = [found["error"] for found in node.read(large, damaged, changed, shorter)]
    assert errors == [
        f"ray.cache: 0.001 GB are too few; {large.path} has {large.size / 1e9:.3f}",
        *(
            f"{path}: damaged, or another one since the stage began; "
            "run again the stage that writes it, then this one"
            for path in (damaged.path, changed.path, shorter.path)
        ),
    ]
    assert node.kept == set()
