"""The order of stages and the time they take, on graphs whose answers are known."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.schedule import Schedule, makespan

# a -> (b, c) -> d, and e alone.
AFTER = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}


def drain(schedule: Schedule) -> list[str]:
    names = []
    while (name := schedule.next()) is not None:
        names.append(name)
    return names


def test_stages_become_ready_when_all_that_they_wait_for_is_done() -> None:
    schedule = Schedule(AFTER)
    assert drain(schedule) == ["a", "e"]
    schedule.done("a")
    assert sorted(drain(schedule)) == ["b", "c"]
    schedule.done("b")
    assert drain(schedule) == []
    schedule.done("c")
    assert drain(schedule) == ["d"]


def test_the_longest_way_to_the_end_goes_first() -> None:
    schedule = Schedule(
        {"short": [], "long": [], "last": ["long"]}, {"short": 5.0, "long": 1.0, "last": 9.0}
    )
    assert drain(schedule) == ["long", "short"]


def test_a_failure_gives_up_exactly_what_waits_for_it() -> None:
    schedule = Schedule(AFTER)
    assert sorted(schedule.failed("b")) == ["d"]
    assert sorted(Schedule(AFTER).failed("a")) == ["b", "c", "d"]
    assert Schedule(AFTER).failed("e") == []


def test_what_is_not_planned_is_not_waited_for() -> None:
    assert drain(Schedule({"b": ["a"]})) == ["b"]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (1, 15.0),  # one after the other
        (2, 10.0),  # a 0-1, e 0-5, c 1-4, b 4-6, d 6-10
        (3, 8.0),  # a 0-1, b and c 1-4, d 4-8, e beside them
    ],
)
def test_makespan_of_a_diamond(jobs: int, expected: float) -> None:
    seconds = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}
    assert makespan(AFTER, seconds, jobs) == expected


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Mapping[str, list[str]], Mapping[str, float]]:
    names = [str(i) for i in range(draw(st.integers(1, 8)))]
    after = {
        name: draw(st.lists(st.sampled_from(names[:i]), unique=True)) if i else []
        for i, name in enumerate(names)
    }
    seconds = {name: float(draw(st.integers(1, 9))) for name in names}
    return after, seconds


@given(graphs(), st.integers(1, 4))
def test_makespan_lies_between_the_bounds_of_list_scheduling(
    graph: tuple[Mapping[str, list[str]], Mapping[str, float]], jobs: int
) -> None:
    """Graham 1969: never worse than total/jobs + the longest path."""
    after, seconds = graph
    longest: dict[str, float] = {}
    for name, needed in after.items():
        longest[name] = seconds[name] + max((longest[n] for n in needed), default=0.0)
    path, total = max(longest.values()), sum(seconds.values())
    found = makespan(after, seconds, jobs)
    assert max(path, total / jobs) <= found <= total / jobs + path
    assert makespan(after, seconds, 1) == total
    assert makespan(after, seconds, len(after)) == path
