"""Training on several workers: the same model again, also after losses; mistakes in one line."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pipeline_workspace import (
    Running,
    Workspace,
    cluster_with,
    ray_workers,
    stage_command,
    succeeded,
    the_error,
    wait_until,
)
from small_disk import small_disk

EPOCHS = 4
TRAIN = ("train", "shapes", "pgd_linf_8", "0")
TRAINED = ("models/shapes/pgd_linf_8/0/*", "curves/shapes/pgd_linf_8/0.csv")
TRAINING = "RayTrainWorker"
Environment = Mapping[str, str | None]


@pytest.fixture(scope="module")
def two_cpus() -> Iterator[Environment]:
    """The environment of a cluster with room for two workers."""
    with cluster_with(cpus=2) as environment:
        yield environment


def create(root: Path, **values: Any) -> Workspace:
    workspace = Workspace.create(root)
    workspace.set(
        {
            "dataset.shapes.training.epochs": EPOCHS,
            "method.pgd_linf_8.workers": 2,
            "ray.storage": str(storage(workspace)),
        }
        | values
    )
    return workspace


def storage(workspace: Workspace) -> Path:
    return workspace.root.with_name(f"{workspace.root.name}.storage")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, two_cpus: Environment) -> Workspace:
    """A workspace with a model that two workers trained; to be left as it is."""
    workspace = create(tmp_path_factory.mktemp("together") / "first")
    succeeded(workspace.stage("prepare", "shapes", env=two_cpus))
    finished = succeeded(workspace.stage(*TRAIN, env=two_cpus))
    assert finished.errors == ""
    assert shown_epochs(finished.output)[-1] == EPOCHS
    return workspace


@pytest.fixture
def untrained(trained: Workspace, tmp_path: Path) -> Workspace:
    """Its copy without the model, with a storage of its own."""
    workspace = trained.copy(tmp_path / "copy")
    shutil.rmtree(workspace.root / "models/shapes/pgd_linf_8/0")
    (workspace.root / "curves/shapes/pgd_linf_8/0.csv").unlink()
    workspace.set({"ray.storage": str(storage(workspace))})
    return workspace


def shown_epochs(output: str) -> list[int]:
    label = " ".join(TRAIN)
    return [int(n) for n in re.findall(rf"^{label}: (\d+)/{EPOCHS} ", output, re.MULTILINE)]


def wait_for_progress(running: Running) -> None:
    wait_until(lambda: running.ended or shown_epochs(running.output), "the first epoch")


def test_a_killed_stage_and_then_a_killed_worker_go_on_to_the_same_model(
    trained: Workspace, untrained: Workspace, two_cpus: Environment
) -> None:
    with untrained.start(*stage_command(*TRAIN), env=two_cpus) as running:
        wait_for_progress(running)
        running.kill()
    wait_until(lambda: not ray_workers(TRAINING), "the end of the workers")
    assert untrained.digests(*TRAINED) == {}

    with untrained.start(*stage_command(*TRAIN), env=two_cpus) as running:
        wait_for_progress(running)
        ray_workers(TRAINING)[0].kill()
        finished = succeeded(running.wait())
    assert "lost a worker" in finished.output
    shown = shown_epochs(finished.output)
    assert shown == sorted(set(shown))
    assert shown[0] > 1
    # Every epoch was computed a second time, in one of the two runs.
    assert untrained.digests(*TRAINED) == trained.digests(*TRAINED)
    assert list(storage(untrained).iterdir()) == []
    assert untrained.temporaries() == []


# --- mistakes -------------------------------------------------------------------------------------


def test_a_full_storage_ends_in_one_line_and_with_room_training_goes_on(
    trained: Workspace, untrained: Workspace, two_cpus: Environment, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        untrained.set({"ray.storage": str(disk.folder)})
        # Enough for folders, too little for a checkpoint.
        disk.fill(leaving=64 << 10)
        message = the_error(untrained.stage(*TRAIN, env=two_cpus))
        start = f"ray.storage: a worker cannot write to {disk.folder} ("
        assert message.startswith(start)
        assert "No space left on device" in message
        assert message.endswith("); mend that and run again: the epochs stored there are kept")
        assert untrained.digests(*TRAINED) == {}

        disk.make_room()
        succeeded(untrained.stage(*TRAIN, env=two_cpus))
        assert untrained.digests(*TRAINED) == trained.digests(*TRAINED)


def test_a_training_that_diverges_ends_in_the_line_of_a_single_worker(
    untrained: Workspace, two_cpus: Environment
) -> None:
    untrained.set({"method.pgd_linf_8.learning_rate": 1e30})
    message = the_error(untrained.stage(*TRAIN, env=two_cpus))
    assert re.match(r"loss is not finite in epoch 1, step \d+ of 10; lower learning_rate", message)
    assert untrained.digests(*TRAINED) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"method.pgd_linf_8.workers": 3},
            ("workers: 3 is not allowed", "room for 2, each with 1 CPU"),
            id="more workers than the cluster has room for",
        ),
        pytest.param(
            {"ray.storage": "/dev/null/storage"},
            ("ray.storage: cannot write to /dev/null/storage",),
            id="storage that cannot be written",
        ),
        pytest.param(
            {"ray.storage": "nfs://server/storage"},
            ("ray.storage: cannot write to nfs://server/storage",),
            id="storage of an unknown kind",
        ),
    ],
)
def test_what_the_cluster_cannot_give_is_refused_before_anything_waits_for_it(
    untrained: Workspace, two_cpus: Environment, changes: dict[str, Any], said: tuple[str, ...]
) -> None:
    untrained.set(changes)
    message = the_error(untrained.stage(*TRAIN, env=two_cpus))
    for part in said:
        assert part in message
