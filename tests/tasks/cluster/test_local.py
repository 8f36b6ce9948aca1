"""Clusters on this machine: one for the stages of a DVC process, one for a stage by hand."""

import os
import re
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from textwrap import indent

import psutil
import pytest
import ray
import yaml
from pipeline_workspace import (
    NO_CLUSTER,
    Running,
    Workspace,
    add_stage,
    ray_workers,
    succeeded,
    wait_until,
)
from ray._private import state

from tasks.cluster import pool

# Where the cluster is, which process the worker comes from, what that one has imported, how long
# threads spin, and the project's code.
SHOW = """
import os, ray, sys
from tasks.cluster import pool

def seen():
    imported = {"torch", "atcore"} & set(sys.modules)
    import atcore.base.shown
    return os.getppid(), imported, os.environ["GOMP_SPINCOUNT"], atcore.base.shown.VALUE

with pool.connect():
    print(os.environ["RAY_ADDRESS"], *ray.get(ray.remote(seen).remote()))
"""
SHOWN = re.compile(r"(127\.0\.0\.1:\d+) (\d+) (.*) (\d+) (\w+)")
# A program that has seen a task return, and goes on until it is stopped.
AT_WORK = """
import os, ray, signal
from tasks.cluster import pool
with pool.connect():
    print(ray.get(ray.remote(lambda: "at work").remote()), os.environ["RAY_ADDRESS"], flush=True)
    signal.pause()
"""
BY_HAND = ("python", "program.py")


def with_stages(workspace: Workspace, program: str, **stages: str) -> Workspace:
    """With a program in program.py, and stages of these commands."""
    (workspace.root / "program.py").write_text(program)
    (workspace.root / "atcore/base/shown.py").write_text("VALUE = 'first'\n")
    commands = {name: {"cmd": command} for name, command in stages.items()}
    (workspace.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": commands}))
    return workspace


def start_repro(workspace: Workspace) -> Running:
    return workspace.start("dvc", "repro", env=NO_CLUSTER)


def wait_for_work(running: Running) -> str:
    """The address of the cluster that it works on."""
    work = wait_until(
        lambda: running.ended or re.search("at work (.*)\n", running.output), "the first task"
    )
    assert isinstance(work, re.Match), running.errors
    return work[1]


def cluster_of(workspace: Workspace) -> list[psutil.Process]:
    return [p for p in workspace.processes() if "gcs_server" in p.name()]


def wait_for_end(workspace: Workspace) -> None:
    wait_until(lambda: not workspace.processes(), "the end of the cluster", 60)


# --- the stages of a DVC process ------------------------------------------------------------------


def test_the_stages_of_one_dvc_share_a_cluster_whose_workers_are_copies_of_a_process_without_code(
    bare: Workspace,
) -> None:
    show = " ".join(BY_HAND)
    wait = "until [ -e go ]; do sleep 0.1; done"
    change = "sed -i s/first/second/ atcore/base/shown.py"
    with_stages(bare, SHOW, first=show, second=f"{wait}; {change} && {show}")
    with start_repro(bare) as running:
        first = wait_until(lambda: running.ended or SHOWN.search(running.output), "the first stage")
        assert isinstance(first, re.Match), running.errors
        maps = Path("/proc", first[2], "maps")
        # The next copy is made when its import has ended.
        wait_until(lambda: "libtorch" in maps.read_text(), "the import of torch")
        (bare.root / "go").touch()
        finished = succeeded(running.wait())
    _, second = SHOWN.finditer(finished.output)
    assert second.groups()[:2] == first.groups()[:2]
    assert "atcore" not in first[3]
    assert first.groups()[3:] == ("10000", "first")
    assert second.groups()[2:] == ("{'torch'}", "10000", "second")
    assert finished.complaints == []
    wait_for_end(bare)


def test_a_dvc_that_is_stopped_or_killed_takes_its_cluster_with_it_and_not_that_of_another_one(
    bare: Workspace, tmp_path: Path
) -> None:
    other = with_stages(bare, AT_WORK, only=" ".join(BY_HAND)).copy(tmp_path / "other")
    with start_repro(bare) as running, start_repro(other) as another:
        assert wait_for_work(running) != wait_for_work(another)
        running.send(signal.SIGTERM)
        wait_for_end(bare)
        assert cluster_of(other)
        assert not another.ended
        another.send(signal.SIGKILL)
        wait_for_end(other)


def test_a_cluster_that_is_there_already_is_used(bare: Workspace, ray_cluster: None) -> None:  # noqa: ARG001
    finished = succeeded(with_stages(bare, SHOW, only=" ".join(BY_HAND)).repro())
    assert [address for address, *_ in SHOWN.findall(finished.output)] == [
        os.environ["RAY_ADDRESS"]
    ]
    assert bare.processes() == []


# A task that would not end by itself.
BUSY = """
import ray, time
from tasks.cluster import pool

def busy_for_ever():
    while True:
        time.sleep(1)

with pool.connect():
    ray.get(ray.remote(busy_for_ever).remote())
"""


def test_a_stage_that_is_killed_leaves_no_work_on_the_cluster_that_it_shares(
    bare: Workspace,
    ray_cluster: None,  # noqa: ARG001
) -> None:
    with bare.start("python", "-c", BUSY) as running:
        wait_until(lambda: running.ended or ray_workers("busy_for_ever"), "the task")
        running.kill()
    wait_until(lambda: not ray_workers("busy_for_ever"), "the end of the task")


# A stage that ends while it is connected.
STAGE = """
import ray
from atcore.base.errors import UserError
from tasks.cluster import pool

def main():
    with pool.connect():
        job = ray.get_runtime_context().get_job_id()
        print(ray.get(ray.remote(lambda: "at work").remote()), job)
    assert ray.is_initialized()
    {then}
"""


@pytest.mark.parametrize(
    ("then", "status", "errors"),
    [("pass", 0, ""), ("raise UserError('not allowed')", 2, "error: not allowed\n")],
    ids=["in order", "with a mistake"],
)
def test_a_stage_takes_no_leave_of_the_cluster_which_knows_that_it_has_ended(
    bare: Workspace,
    ray_cluster: None,  # noqa: ARG001
    then: str,
    status: int,
    errors: str,
) -> None:
    add_stage(bare.root, "shown", STAGE.format(then=then))
    ended = bare.stage("shown", env={"DVC_STAGE": "selection"})
    assert (ended.status, ended.errors) == (status, errors)
    job = ended.output.removeprefix("at work ").strip()
    with pool.connect():
        wait_until(
            lambda: next(each for each in state.jobs() if each["JobID"] == job)["IsDead"],
            "Ray to see the end of the stage",
        )
        wait_until(
            lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"],
            "its CPUs to be free",
        )


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


def test_a_local_cluster_cannot_be_reached_from_other_machines(bare: Workspace) -> None:
    with bare.start("python", "-c", AT_WORK, env=NO_CLUSTER) as running:
        wait_for_work(running)
        # The second is the first, as a socket for both families has it.
        assert listening(bare) == {"127.0.0.1", "::ffff:127.0.0.1"}


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
    program = f"""
from tasks.cluster.local import LocalCluster
from tasks.cluster.pool import environment
with LocalCluster() as cluster, environment(cluster.environment()), open({str(gate)!r}, "w"):
    {AT_WORK.replace(chr(10), chr(10) + "    ")}
"""
    environment = NO_CLUSTER | {"GATE": str(gate), "PYTHONPATH": str(tmp_path)}
    with bare.start("python", "-c", program, env=environment) as running:
        wait_for_work(running)


# --- a cluster that is lost -----------------------------------------------------------------------

LOST = "the Ray cluster of this command was lost; beginning again"
# Does something for ever on its first cluster, and ends on its second one.
ONCE = """
import sys
PREPARED = "ray" in sys.modules
import os, ray, signal
from pathlib import Path
from tasks.cluster import pool

def main():
    with pool.connect():
        address = os.environ["RAY_ADDRESS"]
        print(ray.get(ray.remote(lambda: "at work").remote()), address, flush=True)
        while not Path("tried").exists() or Path("tried").read_text() == address:
            Path("tried").write_text(address)
            {does}
"""
COMMAND = "from tasks.console import command\ncommand.run(main)\n"
# Ray ends a process that wants something of a store that is gone.
WAIT, STORE = "signal.pause()", "ray.put(bytes(1 << 20))"


def kill(workspace: Workspace, part: str) -> None:
    """SIGKILL of one process of its Ray node."""
    (found,) = (process for process in workspace.processes() if process.name() == part)
    found.kill()


@pytest.mark.parametrize(
    ("command", "does", "part"),
    [
        (("dvc", "repro"), WAIT, "raylet"),
        (BY_HAND, WAIT, "gcs_server"),
        (BY_HAND, STORE, "raylet"),
    ],
)
def test_a_stage_whose_own_cluster_is_lost_says_so_and_begins_again_on_another_one(
    bare: Workspace, command: tuple[str, ...], does: str, part: str
) -> None:
    with_stages(bare, ONCE.format(does=does) + COMMAND, only=" ".join(BY_HAND))
    with bare.start(*command, env=NO_CLUSTER) as running:
        wait_until(lambda: running.ended or (bare.root / "tried").exists(), "the first task")
        kill(bare, part)
        finished = succeeded(running.wait())
    first, second = re.findall("at work (.*)\n", finished.output)
    assert first != second
    assert finished.complaints.count(LOST) == 1
    wait_for_end(bare)


def test_so_does_one_that_is_prepared_by_the_cluster(bare: Workspace) -> None:
    connect = "def main():\n    with pool.connect():\n        pass\n"
    add_stage(bare.root, "first", f"from tasks.cluster import pool\n{connect}")
    add_stage(bare.root, "second", ONCE.format(does=WAIT) + "    print(PREPARED)")
    with_stages(bare, "", first="python -m tasks first", second="python -m tasks second")
    with start_repro(bare) as running:
        wait_until(lambda: running.ended or (bare.root / "tried").exists(), "the first task")
        kill(bare, "gcs_server")
        finished = succeeded(running.wait())
    assert len(set(re.findall("at work (.*)\n", finished.output))) == 2
    assert "\nTrue\n" in finished.output
    assert finished.complaints.count(LOST) == 1
    wait_for_end(bare)


def has_begun(running: Running, times: int) -> bool:
    return running.ended or running.output.count("at work") == times


def test_it_does_not_begin_again_for_ever(bare: Workspace) -> None:
    program = f"""
from tasks.console import command
def main():
{indent(AT_WORK, "    ")}
command.run(main)
"""
    with bare.start("python", "-c", program, env=NO_CLUSTER) as running:
        for count in range(1, 4):
            wait_until(partial(has_begun, running, count), "the first task")
            kill(bare, "gcs_server")
        finished = running.wait()
    assert finished.status == os.EX_TEMPFAIL
    lost = "error: the Ray cluster of this command was lost"
    assert finished.complaints == [LOST, LOST, lost]
    wait_for_end(bare)
