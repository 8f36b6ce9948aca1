"""Stages and workers that are killed: nothing half done under a final name, and the same result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pipeline_workspace import (
    EPOCHS,
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
