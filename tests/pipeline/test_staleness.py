"""A change of code makes stale what it can have changed, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pipeline_workspace import Pipeline, Workspace, stale, succeeded

TRAINING = {
    "train@shapes-standard-0",
    "train@shapes-pgd_linf_8-0",
    "train_control@shapes-underfit-0",
}
VARIANTS = {f"variants@shapes-{name}" for name in ("saturated", "patch_shuffled", "cue_conflict")}
QUALITY = {stage.replace("variants", "quality") for stage in VARIANTS}
EVALUATION = {stage.replace("train", "evaluate") for stage in TRAINING}
SALIENCE = {stage.replace("train", "salience") for stage in TRAINING}
CHANGES = {
    # Plumbing.
    "tasks/console/progress.py": set(),
    "tasks/console/command.py": set(),
    "tasks/cluster/pool.py": set(),
    "tasks/cluster/resumable.py": set(),
    "tasks/workspace/paths.py": set(),
    "tasks/params/variant.py": set(),
    "tasks/__init__.py": set(),
    "atcore/__init__.py": set(),
    "atcore/base/errors.py": set(),
    "atcore/training/__init__.py": set(),
    "flows/pipeline.py": set(),
    # What Python or an editor leaves beside the code.
    "atcore/training/__pycache__/run.cpython-311.pyc": set(),
    "atcore/training/.run.py.swp": set(),
    # Rooms, and the stages' own modules.
    "tasks/selection.py": {"selection"},
    "atcore/sources/splits.py": {"prepare@shapes"},
    "atcore/training/losses.py": TRAINING | QUALITY,
    "atcore/attacks/pgd.py": TRAINING | QUALITY | EVALUATION,
    "atcore/evaluation/asking.py": EVALUATION | {"report"},
    "atcore/salience/maps.py": SALIENCE | {"report"},
    "atcore/report/page.html.jinja": {"report"},
    "tasks/train.py": TRAINING,
    # There are no networks of one's own in this run, but the report knows them.
    "tasks/network.py": set(),
    "atcore/foreign/taking.py": {"report"},
    "tasks/variants.py": VARIANTS,
}


@contextmanager
def changed(file: Path) -> Iterator[None]:
    """A line more in a file, or a file more, for the time of the block."""
    before = file.read_bytes() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as written:
        written.write("# Another comment.\n")
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_bytes(before)


@pytest.fixture(scope="module")
def finished(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the workspace in which everything has been computed, for the tests here."""
    return pipeline.workspace.copy(tmp_path_factory.mktemp("finished") / "copy")


@pytest.mark.parametrize("file", CHANGES)
def test_a_changed_file_makes_stale(file: str, finished: Workspace) -> None:
    with changed(finished.root / file):
        assert stale(finished) == CHANGES[file]


def test_code_that_gives_the_same_images_as_before_runs_nothing_after_it(
    workspace: Workspace,
) -> None:
    with changed(workspace.root / "atcore/sources/splits.py"):
        assert succeeded(workspace.repro()).stages_run == ["prepare@shapes"]
