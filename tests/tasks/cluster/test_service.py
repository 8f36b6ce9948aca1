"""Programs that others wait for: with a word now and then, and not for ever."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from threading import Event
from typing import Any

import pytest

from tasks.processes import patience
from tasks.processes import service as module
from tasks.processes.service import NotStartedError, service


def program(
    script: str, ready: Callable[[str], bool], **options: Any
) -> AbstractContextManager[Popen[bytes]]:
    return service("Name", ["sh", "-c", script], env=os.environ, ready=ready, **options)


def never(_written: str) -> bool:
    return False


def test_it_is_there_for_the_block_and_what_is_fast_is_not_spoken_of() -> None:
    said: list[str] = []
    with program(
        "echo ready; exec sleep 600", lambda text: text == "ready\n", say=said.append
    ) as running:
        assert running.poll() is None
    assert running.poll() is not None
    assert said == []


def test_a_slow_start_is_spoken_of_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_SECONDS_TO_FIRST_LINE", 0)
    said: list[str] = []
    with program("exec sleep 600", lambda _: bool(said), say=said.append):
        assert said == [
            "waiting for Name to start: 0 s of at most 600 s",
            "waited 0 s for Name to start",
        ]


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo more; echo the reason >&2; echo", "the reason"), ("exit 3", "without a word")],
)
def test_one_that_ends_at_once_is_reported_in_its_last_line(script: str, reason: str) -> None:
    with (
        pytest.raises(NotStartedError, match=f"^Name has not started: {reason}$"),
        program(script, never),
    ):
        pass


def test_the_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_SECONDS", 0)
    with (
        pytest.raises(NotStartedError, match=r"^Name has not started within 0 s: without"),
        program("exec sleep 600", never),
    ):
        pass


def test_whoever_no_longer_needs_it_does_not_wait_for_it() -> None:
    stop = Event()
    stop.set()
    with (
        pytest.raises(NotStartedError, match="not needed any more"),
        program("exec sleep 600", never, stop=stop),
    ):
        pass


def test_a_start_that_is_worth_it_is_tried_again(tmp_path: Path) -> None:
    tried, log = tmp_path / "tried", tmp_path / "log"
    script = f"[ -e {tried} ] && echo ready && exec sleep 600; touch {tried}; echo too slow today"
    with program(script, lambda t: "ready" in t, again=lambda t: "too slow" in t, log=log):
        assert log.read_text() == "ready\n"
