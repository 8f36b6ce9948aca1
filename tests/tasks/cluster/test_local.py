"""`python -m tasks.cluster.local COMMAND`: one cluster while the command runs, none after it."""

import os
import re
import signal

import psutil
import pytest
from pipeline_workspace import NO_CLUSTER, Finished, Running, Workspace, wait_until

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
    assert finished.errors == ""
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
def test_a_launcher_that_ends_takes_its_cluster_and_command_with_it(
    bare: Workspace, number: signal.Signals
) -> None:
    with bare.start(*LAUNCHER, "sh", "-c", f"{SHOW}; exec sleep 600", env=NO_CLUSTER) as running:
        wait_for_command(running)
        assert cluster_of(bare)
        running.send(number)
        assert running.wait(30).status != 0
    wait_until(lambda: not bare.processes(), "the end of the cluster", 20)


def test_a_cluster_that_is_there_already_is_used(bare: Workspace, ray_cluster: None) -> None:  # noqa: ARG001
    with bare.start(*LAUNCHER, "sh", "-c", SHOW) as running:
        finished = running.wait()
        assert finished.output == f"address={os.environ['RAY_ADDRESS']} mode=token\n"
        assert cluster_of(bare) == []
