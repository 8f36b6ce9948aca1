"""Runs of a deployment whose worker, process or both are killed, and queues of them."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from flow_workspace import FlowRun, Flows, graph, stage
from pipeline_workspace import Running, succeeded, wait_until

from flows.witness import Api

WORKER = ("prefect", "worker", "start", "--pool=workspace", "--type=process", "--limit=1")
SERVE = ("python", "-m", "flows.serve")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workspace of each test lies, as that of a deployment stays the same."""
    return tmp_path_factory.mktemp("place") / "graph"


@pytest.fixture
def flows(place: Path, pipe: Path, prefect_api: str) -> Iterator[Flows]:
    """Of a graph whose stage ends when somebody writes into the pipe."""
    wait = f"echo waiting; cat {pipe} > half; mv half slow.txt"
    stages = {
        "quick": stage("cp input.txt quick.txt", "input.txt", out="quick.txt"),
        "slow": stage(wait, "quick.txt", out="slow.txt", params="run.seed"),
    }
    flows = Flows(graph(place, stages), prefect_api)
    yield flows
    left = flows.workspace.processes()
    for process in left:
        process.kill()
    psutil.wait_procs(left)
    shutil.rmtree(place)


def engine(flows: Flows) -> psutil.Process | None:
    """The process of a run."""
    engines = (p for p in flows.workspace.processes() if "prefect.engine" in p.cmdline())
    return next(engines, None)


@contextmanager
def offering(flows: Flows, offer: tuple[str, ...]) -> Iterator[Running]:
    """Somebody who takes runs, and has said so."""
    if offer == WORKER:
        flows.deploy()
    with flows.command(*offer) as process:
        ready = ("started!", "being served")
        wait_until(lambda: any(word in process.output for word in ready), "the offer")
        yield process


def wait_for_stage(flows: Flows) -> None:
    wait_until((flows.workspace.root / "half").exists, "the stage to begin")


def begun(flows: Flows) -> FlowRun:
    run = flows.order(jobs=1)
    wait_for_stage(flows)
    return run


def none_left(flows: Flows) -> None:
    wait_until(lambda: not flows.workspace.processes(), "the end of all processes")
    (flows.workspace.root / "half").unlink()


def all_killed(flows: Flows) -> bool:
    """Kill all processes, before any can act on the end of another; whether there were none."""
    found = flows.workspace.processes()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
    return not found


def test_a_run_that_was_lost_with_its_machine_is_given_a_state_by_the_next_one(
    flows: Flows, pipe: Path
) -> None:
    with offering(flows, WORKER) as worker:
        lost = begun(flows)
        # Nothing of a machine survives, its witness neither, nor what is being forked.
        wait_until(lambda: all_killed(flows), "the loss of the machine")
        worker.kill()
    assert lost.state == "RUNNING"
    none_left(flows)
    with offering(flows, WORKER):
        run = begun(flows)
        assert lost.state == "CRASHED"
        pipe.write_text("word\n")
        assert run.wait() == "COMPLETED"


def test_a_run_that_was_killed_before_its_first_line_is_found(flows: Flows) -> None:
    with offering(flows, WORKER) as worker:
        lost = flows.order(jobs=1)
        wait_until(lambda: lost.state == "PENDING", "the worker to take the run")
        wait_until(lambda: all_killed(flows), "the loss of the machine")
        worker.kill()
    api = Api(flows.api)
    assert api.unbegun(lost.deployment, since=datetime.now(UTC) - timedelta(minutes=10)) == []
    assert api.unbegun(lost.deployment, since=datetime.now(UTC)) == [lost.id]
    api.conclude(lost.id, "it was killed before it began")
    assert lost.state == "CRASHED"


def test_queued_runs_wait_for_each_other_and_each_has_its_own_parameters(
    flows: Flows, pipe: Path
) -> None:
    workspace = flows.workspace
    before = (workspace.root / "params.yaml").read_bytes()
    with offering(flows, WORKER):
        runs = {
            seed: flows.order(jobs=1, overrides=[f"run.seed={seed}"], experiment=f"seed-{seed}")
            for seed in (1, 2)
        }
        for run in runs.values():
            wait_for_stage(flows)
            assert sum(run.state == "RUNNING" for run in runs.values()) == 1
            assert (workspace.root / "params.yaml").read_bytes() == before
            pipe.write_text("word\n")
            assert run.wait() == "COMPLETED"
    for seed, run in runs.items():
        assert f"parameter run.seed: {seed} here, 0 in the committed params.yaml" in run.lines
        # As a second user finds the results of the first.
        succeeded(workspace.dvc("exp", "apply", f"seed-{seed}"))
        assert workspace.lock["stages"]["slow"]["params"]["params.yaml"]["run.seed"] == seed


def stop_worker(_flows: Flows, worker: Running) -> None:
    worker.send(signal.SIGTERM)


def kill_worker(_flows: Flows, worker: Running) -> None:
    worker.send(signal.SIGKILL)


def kill_run(flows: Flows, _worker: Running) -> None:
    process = engine(flows)
    assert process is not None
    process.kill()


def kill_both(flows: Flows, worker: Running) -> None:
    kill_run(flows, worker)
    kill_worker(flows, worker)


@pytest.mark.parametrize(
    ("offer", "interrupt"),
    [
        (WORKER, stop_worker),
        (WORKER, kill_worker),
        (WORKER, kill_both),
        (WORKER, kill_run),
        (SERVE, stop_worker),
        (SERVE, kill_worker),
    ],
    ids=lambda value: value.__name__ if callable(value) else value[2],
)
def test_a_run_that_is_cut_off_gets_a_final_state_and_the_next_one_does_its_work(
    flows: Flows,
    pipe: Path,
    offer: tuple[str, ...],
    interrupt: Callable[[Flows, Running], None],
) -> None:
    with offering(flows, offer) as first:
        cut_off = begun(flows)
        interrupt(flows, first)
        assert cut_off.wait() == "CRASHED"
    none_left(flows)
    assert not (flows.workspace.root / "slow.txt").exists()

    with offering(flows, offer):
        run = begun(flows)
        pipe.write_text("word\n")
        assert run.wait() == "COMPLETED"
    assert run.stages == {"slow": "Completed"}
    assert (flows.workspace.root / "slow.txt").read_text() == "word\n"
