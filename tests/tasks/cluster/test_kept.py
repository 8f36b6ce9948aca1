"""What the program that keeps a cluster tells of one that it could not start."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.cluster.kept import _answer
from tasks.cluster.local import LocalCluster


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process can open none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_no_full_disk_is_not_told_as_one() -> None:
    told: list[tuple[str, Any]] = []
    with LocalCluster() as cluster, no_more_files():
        _answer(cluster, lambda kind, answer: told.append((kind, answer)))
    assert told == [("error", "Ray has not started: [Errno 24] Too many open files")]
