"""`python -m tasks.cluster.local COMMAND`: one cluster while the command runs, none after it."""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from pipeline_workspace import (
    NO_CLUSTER,
    Finished,
    Running,
    Workspace,
    succeeded,
    wait_until,
)

LAUNCHER = ("python", "-m", "tasks.cluster.local")
SHOW = "echo address=$RAY_ADDRESS mode=$RAY_AUTH_MODE"
ADDRESS = r"address=127\.0\.0\.1:\d+ mode=token\n"


def launch(workspace: Workspace, *command: str) -> Finished:
    return workspace.run(*LAUNCHER, *command, env=NO_CLUSTER)


def test_the_launcher_names_its_cluster_stops_it_and_passes_on_the_exit_status(
    bare: Workspace,
) -> None:
    finished = launch(bare, "sh", "-c", f"{SHOW}; exit 7")
    assert finished.status == 7
    assert re.fullmatch(ADDRESS, finished.output)
    assert finished.complaints == []
    assert bare.processes() == []


def test_a_command_that_does_not_exist_ends_in_one_line_and_without_a_cluster(
    bare: Workspace,
) -> None:
    finished = launch(bare, "no-such-command")
    assert finished.status == 127
    assert finished.errors.splitlines() == ["error: no-such-command: no such command"]
    assert bare.processes() == []


def cluster_of(workspace: Workspace) -> list[psutil.Process]:
    return [p for p in workspace.processes() if "gcs_server" in p.name()]


def wait_for_command(running: Running) -> None:
    wait_until(lambda: re.search(ADDRESS, running.output), "the command to start")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_launcher_that_ends_takes_its_cluster_and_command_with_it_and_leaves_no_file(
    bare: Workspace, number: signal.Signals, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # Ray keeps its logs.
    environment = NO_CLUSTER | {"TMPDIR": str(temporary), "RAY_TMPDIR": "/tmp"}
    with bare.start(*LAUNCHER, "sh", "-c", f"{SHOW}; exec sleep 600", env=environment) as running:
        wait_for_command(running)
        assert cluster_of(bare)
        running.send(number)
        assert running.wait(30).status != 0
    wait_until(lambda: not bare.processes(), "the end of the cluster", 20)
    assert list(temporary.iterdir()) == []


def test_a_cluster_that_is_there_already_is_used(bare: Workspace, ray_cluster: None) -> None:  # noqa: ARG001
    with bare.start(*LAUNCHER, "sh", "-c", SHOW) as running:
        finished = running.wait()
        assert finished.output == f"address={os.environ['RAY_ADDRESS']} mode=token\n"
        assert cluster_of(bare) == []


def listening(workspace: Workspace) -> set[str]:
    """The addresses at which its processes take connections."""
    found = set()
    for started in workspace.processes():
        # Some of Ray's hide whose they are.
        for process in (started, *started.children(recursive=True)):
            with suppress(psutil.Error):
                found |= {
                    c.laddr.ip for c in process.net_connections("tcp") if c.status == "LISTEN"
                }
    return found


# A program that has seen a task return, and goes on until it is stopped.
AT_WORK = """
import ray, signal
from tasks.cluster import pool
with pool.connect():
    print(ray.get(ray.remote(lambda: "at work").remote()), flush=True)
    signal.pause()
"""


def wait_for_work(running: Running) -> None:
    wait_until(lambda: running.ended or running.output.endswith("at work\n"), "the first task")
    assert not running.ended, running.errors


def test_a_local_cluster_cannot_be_reached_from_other_machines(bare: Workspace) -> None:
    with bare.start("python", "-c", AT_WORK, env=NO_CLUSTER) as running:
        wait_for_work(running)
        # The second is the first, as a socket for both families has it.
        assert listening(bare) == {"127.0.0.1", "::ffff:127.0.0.1"}


LOST = re.compile(
    r"error: the Ray cluster of this run was lost: nothing answers at 127\.0\.0\.1:\d+"
)


def kill(workspace: Workspace, part: str) -> None:
    """SIGKILL of one process of its Ray node."""
    (found,) = (process for process in workspace.processes() if process.name() == part)
    found.kill()


# Makes Ray's agents, which import much, wait until somebody writes to the pipe.
GATE = """
import os, sys
if any(agent in " ".join(sys.orig_argv) for agent in ("dashboard/agent.py", "agent/main.py")):
    open(os.environ["GATE"]).close()
"""


def test_a_cluster_does_not_wait_for_agents_that_are_slow_to_start(
    bare: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(GATE)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    environment = NO_CLUSTER | {"GATE": str(gate), "PYTHONPATH": str(tmp_path)}
    script = f"{SHOW}; exec 3> {gate}; exec python -c '{AT_WORK}'"
    with bare.start(*LAUNCHER, "sh", "-c", script, env=environment) as running:
        wait_for_command(running)
        wait_for_work(running)


# --- a cluster that is lost -----------------------------------------------------------------------

# Waits for its end the first time, and has nothing to wait for the second time.
ONCE = f"""{AT_WORK.replace("signal.pause()", "")}
    if not os.path.exists("tried"):
        open("tried", "w").close()
        signal.pause()
""".replace("import ray, signal", "import os, ray, signal")


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_command_whose_cluster_is_lost_says_so_and_runs_again_on_another_one(
    bare: Workspace, part: str
) -> None:
    with bare.start(*LAUNCHER, "python", "-c", ONCE, env=NO_CLUSTER) as running:
        wait_until(lambda: running.ended or (bare.root / "tried").exists(), "the first task")
        kill(bare, part)
        finished = succeeded(running.wait())
    assert finished.output == "at work\nat work\n"
    lost, another = finished.complaints
    assert LOST.fullmatch(lost)
    assert another == "the Ray cluster on this machine was lost; starting another one"


def test_a_stage_whose_own_cluster_is_lost_ends_in_one_line_and_is_worth_another_try(
    bare: Workspace,
) -> None:
    with bare.start("python", "-c", AT_WORK, env=NO_CLUSTER) as running:
        wait_for_work(running)
        kill(bare, "gcs_server")
        finished = running.wait()
    assert finished.status == os.EX_TEMPFAIL
    (lost,) = finished.complaints
    assert LOST.fullmatch(lost)
    wait_until(lambda: not bare.processes(), "the end of the cluster", 20)
