"""Stages in copies of a process that has imported what they need, seen from outside."""

import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from pipeline_workspace import (
    NO_CLUSTER,
    Running,
    Workspace,
    add_stage,
    stage_command,
    succeeded,
    the_error,
    wait_until,
)

SHOW = """
import os, sys
from pathlib import Path

def main(word):
    called = Path("/proc/self/cmdline").read_bytes().decode().strip("\\0").replace("\\0", " ")
    print(os.getpid(), "ray" in sys.modules, Path.cwd(), os.environ["OWN"], called, sep=", ")
    {then}
"""
WAIT = "import signal; sys.stdout.flush(); signal.pause()"


def with_stage(workspace: Workspace, then: str) -> Workspace:
    add_stage(workspace.root, "shown", SHOW.format(then=then))
    return workspace


@pytest.mark.parametrize(
    ("cluster", "prepared"), [({}, "True"), (NO_CLUSTER, "False")], ids=["cluster", "none"]
)
def test_a_stage_is_prepared_where_there_is_a_cluster_and_finds_all_that_is_its_process_s_own(
    bare: Workspace,
    ray_cluster: None,  # noqa: ARG001
    cluster: dict[str, str | None],
    prepared: str,
) -> None:
    with_stage(bare, 'print("said", file=sys.stderr)')
    ended = succeeded(bare.stage("shown", "word", env={**cluster, "OWN": "1"}))
    _, imported, folder, own, called = ended.output.strip().split(", ")
    assert (imported, folder, own) == (prepared, str(bare.root), "1")
    assert called == "python -m tasks shown word"
    assert ended.errors == "said\n"


def test_it_is_the_code_of_the_moment(bare: Workspace, ray_cluster: None) -> None:  # noqa: ARG001
    for word in ("first", "second"):
        (bare.root / "atcore/base/shown.py").write_text(f"VALUE = {word!r}\n")
        with_stage(bare, "from atcore.base.shown import VALUE; print(VALUE)")
        ended = succeeded(bare.stage("shown", "word", env={"OWN": "1"}))
        assert ended.output.splitlines()[-1] == word


def test_what_it_says_in_a_terminal_is_there_at_once(
    bare: Workspace,
    ray_cluster: None,  # noqa: ARG001
) -> None:
    add_stage(
        bare.root, "shown", "import signal\ndef main():\n    print('said')\n    signal.pause()"
    )
    terminal, theirs = pty.openpty()
    command = stage_command("shown")
    with subprocess.Popen(command, cwd=bare.root, env=bare.environment(), stdout=theirs) as process:
        ready, _, _ = select.select([terminal], [], [], 60)
        process.kill()
    os.close(theirs)
    assert ready
    # A terminal passes on what ends a line by itself.
    with os.fdopen(terminal, "rb", buffering=0) as shown:
        assert shown.readline() == b"said\r\n"


MISTAKE = "from atcore.base.errors import UserError; raise UserError('not allowed')"
LOST = r"error: the Ray cluster at 127\.0\.0\.1:\d+ was lost\n"


@pytest.mark.parametrize(
    ("then", "status", "errors"),
    [
        (MISTAKE, 2, "error: not allowed\n"),
        ("raise ValueError('a fault')", 1, "Traceback .*ValueError: a fault\n"),
        ("os._exit(os.EX_TEMPFAIL)", os.EX_TEMPFAIL, LOST),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
    ],
)
def test_its_end_is_that_of_the_process(
    bare: Workspace,
    ray_cluster: None,  # noqa: ARG001
    then: str,
    status: int,
    errors: str,
) -> None:
    ended = with_stage(bare, then).stage("shown", "word", env={"OWN": "1"})
    assert ended.status == status
    assert re.fullmatch(errors, ended.errors, re.DOTALL), ended.errors


@contextmanager
def waiting(workspace: Workspace) -> Iterator[tuple[Running, psutil.Process]]:
    """A stage, and the process in which it is prepared."""
    with_stage(workspace, WAIT)
    with workspace.start(*stage_command("shown", "word"), env={"OWN": "1"}) as running:
        wait_until(lambda: running.ended or "\n" in running.output, "the stage to begin")
        process, prepared, *_ = running.output.split(", ")
        assert prepared == "True"
        yield running, psutil.Process(int(process))


@pytest.mark.parametrize(
    ("stop", "status", "errors"),
    [
        (Running.interrupt, -signal.SIGINT, "interrupted; run again to go on\n"),
        (lambda running: running.send(signal.SIGTERM), -signal.SIGTERM, ""),
    ],
    ids=["ctrl-c", "terminated"],
)
def test_it_ends_before_the_process_that_is_stopped(
    bare: Workspace,
    ray_cluster: None,  # noqa: ARG001
    stop: Callable[[Running], None],
    status: int,
    errors: str,
) -> None:
    with waiting(bare) as (running, prepared):
        stop(running)
        ended = running.wait()
        assert not prepared.is_running()
    assert (ended.status, ended.errors) == (status, errors)


def test_it_ends_soon_after_the_process_that_is_killed(bare: Workspace, ray_cluster: None) -> None:  # noqa: ARG001
    with waiting(bare) as (running, prepared):
        running.kill()
        wait_until(lambda: not prepared.is_running(), "the end of the stage")


def test_a_process_that_loses_it_is_told_so(bare: Workspace, ray_cluster: None) -> None:  # noqa: ARG001
    """As by the system's want of memory, which may end what attends the stage as well."""
    with waiting(bare) as (running, prepared):
        attendant = prepared.parent()
        assert attendant is not None
        attendant.kill()
        assert running.wait().status == -signal.SIGKILL
        wait_until(lambda: not prepared.is_running(), "the end of the stage")


def test_another_user_s_token_is_refused(bare: Workspace, ray_cluster: None) -> None:  # noqa: ARG001
    with_stage(bare, "from tasks.cluster import pool; pool.connect().__enter__()")
    message = the_error(bare.stage("shown", "word", env={"OWN": "1", "RAY_AUTH_TOKEN": "0" * 64}))
    assert "refused the connection; check RAY_AUTH_MODE and RAY_AUTH_TOKEN" in message
