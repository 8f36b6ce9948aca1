"""Work spread over a cluster: results in the order of the items, of which few are in memory."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from pipeline_workspace import ray_workers, wait_until

from atcore.base.errors import UserError
from tasks.cluster import pool

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_items_are_drawn_as_results_are_taken_in_their_order() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(200):
            drawn.append(item)
            yield item

    def plus(item: int, shared: int) -> int:
        return item + shared

    with pool.connect():
        results = pool.spread(plus, items(), 5, total=200, label="add")
        assert drawn == []
        assert next(results) == 5
        assert len(drawn) <= 3 * ray.cluster_resources()["CPU"] < 200
        assert list(results) == list(range(6, 205))
    assert drawn == list(range(200))


def test_progress_is_by_the_weight_of_items(capsys: pytest.CaptureFixture[str]) -> None:
    def length(item: str) -> int:
        return len(item)

    with pool.connect():
        parts = ["ab", "c", "def"]
        assert list(pool.spread(length, parts, total=6, label="count", weigh=len)) == [2, 1, 3]
    assert capsys.readouterr().out.endswith("count: 6/6\n")


def test_a_users_mistake_on_a_worker_is_one_here() -> None:
    def refuse(item: int) -> int:
        if item == 1:
            raise UserError("one is not allowed")
        return item

    with pool.connect():
        results = pool.spread(refuse, range(3), total=3, label="refuse")
        assert next(results) == 0
        with pytest.raises(UserError, match="one is not allowed"):
            next(results)


def test_calls_that_still_run_when_one_is_refused_end_with_the_connection(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "begun"

    def endless(item: int) -> None:
        if item == 1:
            begun.touch()
        while item == 1 or not begun.exists():
            time.sleep(0.01)
        raise UserError("zero is not allowed")

    with pytest.raises(UserError, match="zero is not allowed"), pool.connect():
        list(pool.spread(endless, range(9), total=9, label="endless"))
    wait_until(lambda: not ray_workers("endless"), "the end of the calls")
    assert capfd.readouterr().err == ""
