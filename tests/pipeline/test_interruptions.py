"""Stages and workers that are killed: nothing half done under a final name, and the same result."""

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pipeline_workspace import (
    EPOCHS,
    PROJECT,
    Pipeline,
    Running,
    Workspace,
    clear,
    first_epoch,
    ray_workers,
    stage_command,
    succeeded,
    wait_until,
)

HOLDING = ("python", "-m", "tasks.processes.holder")
TRAIN = ("train", "shapes", "pgd_linf_8", "0")
TRAINED = ("models/shapes/pgd_linf_8/0/*", "curves/shapes/pgd_linf_8/0.csv")


def start(workspace: Workspace, *stage: str) -> Running:
    return workspace.start(*stage_command(*stage))


# --- moments to kill at ---------------------------------------------------------------------------

Moment = Callable[[Workspace, Running, Path], bool]


def at_work(_workspace: Workspace, running: Running, _out: Path) -> bool:
    """The first tasks have returned."""
    return "/" in running.output


def while_writing(workspace: Workspace, _running: Running, out: Path) -> bool:
    """The output lies beside its final name, which may last milliseconds."""
    return any((workspace.root / out.parent).glob(f".{out.name}.*/{out.name}"))


@dataclass(frozen=True)
class Interruption:
    stage: tuple[str, ...]
    out: Path
    moment: Moment

    def __str__(self) -> str:
        return f"{self.stage[0]}-{self.moment.__name__}"


INTERRUPTIONS = [
    Interruption(("prepare", "shapes"), Path("data/shapes"), while_writing),
    Interruption(
        ("variants", "shapes", "saturated"), Path("variants/shapes/saturated"), while_writing
    ),
    Interruption(
        ("evaluate", "shapes", "standard", "0"),
        Path("predictions/shapes/standard/0.parquet"),
        at_work,
    ),
    Interruption(("report",), Path("reports"), while_writing),
]


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=str)
def test_a_killed_stage_leaves_its_output_complete_or_absent_and_runs_again(
    pipeline: Pipeline, workspace: Workspace, interruption: Interruption
) -> None:
    out = interruption.out
    files = (str(out), f"{out}/**/*")
    complete = pipeline.workspace.digests(*files)
    assert complete
    clear(workspace.root / out)
    with start(workspace, *interruption.stage) as running:
        wait_until(
            lambda: running.ended or interruption.moment(workspace, running, out),
            f"{interruption} to begin",
        )
        running.kill()
    assert workspace.digests(*files) in ({}, complete)
    assert workspace.processes() == []

    succeeded(workspace.stage(*interruption.stage))
    assert workspace.digests(*files) == complete
    assert workspace.temporaries() == []


# --- Ctrl-C ---------------------------------------------------------------------------------------

EVALUATE = ("evaluate", "shapes", "standard", "0")
PREDICTIONS = "predictions/shapes/standard/0.parquet"
AT_WORK = f"{' '.join(EVALUATE)}: "
INTERRUPTED = "interrupted; run again to go on"
OF_DVC = (
    "ERROR: failed to reproduce 'evaluate@shapes-standard-0': failed to run: "
    f"{' '.join(stage_command(*EVALUATE))}, exited with -2"
)
REPRO = ("dvc", "repro", "--single-item", "evaluate@shapes-standard-0")


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (stage_command(*EVALUATE), -signal.SIGINT, [INTERRUPTED]),
        ((*HOLDING, *REPRO), -signal.SIGINT, [INTERRUPTED]),
        (REPRO, 255, [INTERRUPTED, OF_DVC]),
    ],
    ids=["stage", "make repro", "dvc repro"],
)
def test_ctrl_c_ends_in_one_line_and_the_next_run_goes_on(
    pipeline: Pipeline, workspace: Workspace, command: Sequence[str], status: int, said: list[str]
) -> None:
    complete = pipeline.workspace.digests(PREDICTIONS)
    clear(workspace.root / PREDICTIONS)
    # So that DVC does not bring them back from there.
    clear(workspace.root / ".dvc/cache")
    # What a shell starts in the background ignores Ctrl-C, and so would its children.
    with workspace.start("env", "--default-signal=INT", *command) as running:
        wait_until(lambda: running.ended or AT_WORK in running.output, "the first tasks")
        running.interrupt()
        ended = running.wait()
    assert ended.status == status
    assert ended.complaints == said
    wait_until(lambda: not workspace.processes(), "its processes to end")
    assert workspace.digests(PREDICTIONS) == {}

    succeeded(workspace.run(*command))
    assert workspace.digests(PREDICTIONS) == complete
    assert workspace.temporaries() == []


def test_ctrl_c_while_a_command_imports_ends_in_one_line() -> None:
    for room in ("tasks", "flows"):
        code = f"import {room}; raise KeyboardInterrupt"
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (-signal.SIGINT, f"{INTERRUPTED}\n")


# --- training -------------------------------------------------------------------------------------


def require_the_same_model(pipeline: Pipeline, workspace: Workspace) -> None:
    assert workspace.digests(*TRAINED) == pipeline.workspace.digests(*TRAINED)
    assert workspace.temporaries() == []


@pytest.fixture
def untrained(workspace: Workspace) -> Workspace:
    for path in ("models/shapes/pgd_linf_8/0", "curves/shapes/pgd_linf_8/0.csv"):
        clear(workspace.root / path)
    return workspace


def test_a_training_killed_in_its_middle_and_at_its_end_goes_on_to_the_same_model(
    pipeline: Pipeline, untrained: Workspace
) -> None:
    with start(untrained, *TRAIN) as running:
        wait_until(lambda: untrained.checkpoint, "the first checkpoint")
        running.kill()
    assert untrained.digests(*TRAINED) == {}

    with start(untrained, *TRAIN) as running:
        wait_until(lambda: f": {EPOCHS}/{EPOCHS} " in running.output, "the last epoch")
        assert first_epoch(TRAIN, running.output) > 1
        running.kill()

    assert first_epoch(TRAIN, succeeded(untrained.stage(*TRAIN)).output) == EPOCHS
    require_the_same_model(pipeline, untrained)


def test_a_training_that_loses_its_worker_goes_on_to_the_same_model(
    pipeline: Pipeline, untrained: Workspace
) -> None:
    with start(untrained, *TRAIN) as running:
        (worker,) = wait_until(lambda: ray_workers("_train_remotely"), "the worker")
        wait_until(lambda: untrained.checkpoint, "the first checkpoint")
        worker.kill()
        finished = succeeded(running.wait())
    assert "lost the worker" in finished.output
    require_the_same_model(pipeline, untrained)


def test_a_method_of_equal_content_leaves_the_checkpoint_of_another_one_alone(
    untrained: Workspace,
) -> None:
    untrained.set({"method.twin": untrained.parameters["method"]["pgd_linf_8"]})
    with start(untrained, *TRAIN) as running:
        wait_until(lambda: untrained.checkpoint, "the first checkpoint")
        running.kill()
    kept = untrained.checkpoint

    twin = ("train", "shapes", "twin", "0")
    assert first_epoch(twin, succeeded(untrained.stage(*twin)).output) == 1
    assert untrained.checkpoint == kept
