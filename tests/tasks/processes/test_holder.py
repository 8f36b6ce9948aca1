"""One holder of a workspace at a time, seen from other processes."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pipeline_workspace import Running, Workspace, add_stage, succeeded, the_error, wait_until

from tasks.processes.holder import held

HOLDER = ("python", "-m", "tasks.processes.holder")
STAGE = """
from pathlib import Path
def main(pipe):
    print("computing", flush=True)
    Path(pipe).read_text()
"""
WORK = ("python", "-m", "tasks", "work")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "workspace"
    add_stage(root, "work", STAGE)
    return Workspace(root)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Whoever reads it waits until somebody writes."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@contextmanager
def running(workspace: Workspace, *command: str) -> Iterator[Running]:
    """A command that has said a word."""
    with workspace.start(*command) as process:
        wait_until(lambda: process.output or process.ended, "the command to begin")
        assert not process.ended, process.errors
        yield process


def holding(pipe: Path) -> tuple[str, ...]:
    return (*HOLDER, "sh", "-c", f"echo held; cat {pipe}")


def test_whoever_finds_it_held_is_told_by_whom_since_when_and_touches_nothing(
    workspace: Workspace, pipe: Path
) -> None:
    with running(workspace, *holding(pipe)) as holder:
        touched = workspace.root / "touched"
        message = the_error(workspace.run(*HOLDER, "touch", str(touched)))
        assert re.fullmatch(
            rf"the workspace is held by sh -c echo held; cat {pipe} \(process \d+, "
            r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+\); wait until it ends, or stop it",
            message,
        )
        assert not touched.exists()
        pipe.write_text("go on")
        assert succeeded(holder.wait()).output == "held\ngo on"
    succeeded(workspace.run(*HOLDER, "touch", str(touched)))


def test_it_is_free_once_the_processes_of_a_holder_that_was_killed_have_ended(
    workspace: Workspace, tmp_path: Path
) -> None:
    """They are given time to end, in which nobody else may begin."""
    trail = tmp_path / "trail"
    slow = (
        f"trap 'sleep 1; echo first >> {trail}; exit' TERM; echo held; while :; do sleep 0.1; done"
    )
    with running(workspace, *HOLDER, "sh", "-c", slow) as holder:
        holder.send(signal.SIGKILL)
        succeeded(workspace.run(*HOLDER, "sh", "-c", f"echo second >> {trail}"))
    assert trail.read_text() == "first\nsecond\n"


def test_who_comes_next_learns_of_a_holder_that_was_killed_and_of_no_other(
    workspace: Workspace, pipe: Path
) -> None:
    with running(workspace, *holding(pipe)) as holder:
        holder.send(signal.SIGKILL)
        wait_until(lambda: holder.ended, "the holder to end")
        with held(workspace.root, "next") as hold:
            assert hold.died is not None
            assert hold.died.name == f"sh -c echo held; cat {pipe}"
    with held(workspace.root, "one more") as hold:
        assert hold.died is None


def test_who_waits_is_told_for_whom_and_gets_it(workspace: Workspace, pipe: Path) -> None:
    told: list[str] = []

    def waiting(holder: str) -> None:
        told.append(holder)
        pipe.write_text("go on")

    with (
        running(workspace, *holding(pipe)),
        held(workspace.root, "patient", waiting=waiting),
    ):
        assert len(told) == 1
        assert told[0].startswith("sh -c echo held")


def test_stages_by_hand_share_it_and_keep_holders_away(workspace: Workspace) -> None:
    pipes = [workspace.root / name for name in ("one", "two")]
    for path in pipes:
        os.mkfifo(path)
    stages = [(*WORK, path.name) for path in pipes]
    with running(workspace, *stages[0]) as first, running(workspace, *stages[1]) as second:
        message = the_error(workspace.run(*HOLDER, "true"))
        for path in pipes:
            assert f"python -m tasks work {path.name} (process " in message
            path.write_text("go on")
        for stage in (first, second):
            succeeded(stage.wait())
    succeeded(workspace.run(*HOLDER, "true"))


def test_a_stage_runs_within_its_holder_s_run_and_in_no_other(
    workspace: Workspace, pipe: Path
) -> None:
    stage = (*WORK, str(pipe))
    with running(workspace, *HOLDER, *stage) as within:
        assert "python -m tasks work" in the_error(workspace.run(*stage))
        late = workspace.run(*stage, env={"ATCNN_HOLDER": "the key of a run that has ended"})
        assert "no longer by the run of this stage" in the_error(late)
        pipe.write_text("go on")
        succeeded(within.wait())
