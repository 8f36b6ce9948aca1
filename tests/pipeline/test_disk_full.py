"""A full disk ends in one line that names it, costs nothing computed, and with room it goes on."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_workspace import Flows, graph, stage
from pipeline_workspace import (
    EVERYTHING,
    NO_CLUSTER,
    Pipeline,
    Workspace,
    clear,
    first_epoch,
    stage_command,
    succeeded,
    the_error,
    wait_until,
)
from small_disk import SmallDisk, small_disk

from tasks.cluster.local import LocalCluster

LINE = "{}: no space left on the device; make room there and run again: what is done is kept"
# Too little for any output, enough for what is small beside them.
LITTLE = 32 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 256) as disk:
        yield disk


# --- the workspace --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (("prepare", "shapes"), "data/shapes"),
        (("variants", "shapes", "saturated"), "variants/shapes/saturated"),
        (("report",), "reports"),
    ],
    ids=lambda value: value[0],
)
def test_a_stage_without_room_for_its_output_leaves_all_as_it_was_and_runs_again(
    pipeline: Pipeline, disk: SmallDisk, command: tuple[str, ...], out: str
) -> None:
    workspace = pipeline.workspace.copy(disk.folder)
    clear(workspace.root / out)
    before = workspace.digests(*EVERYTHING, "dvc.lock")
    disk.fill(leaving=LITTLE)
    assert the_error(workspace.stage(*command)) == LINE.format(out)
    assert workspace.digests(*EVERYTHING, "dvc.lock") == before
    assert workspace.temporaries() == []

    disk.make_room()
    succeeded(workspace.stage(*command))
    assert workspace.digests(*EVERYTHING) == pipeline.workspace.digests(*EVERYTHING)


def test_a_training_without_room_for_a_checkpoint_goes_on_from_the_one_before(
    pipeline: Pipeline, disk: SmallDisk
) -> None:
    training = ("train", "shapes", "pgd_linf_8", "0")
    workspace = pipeline.workspace.copy(disk.folder)
    with workspace.start(*stage_command(*training)) as running:
        checkpoint = wait_until(lambda: workspace.checkpoint, "the first checkpoint")
        disk.fill()
        message = the_error(running.wait())
    assert message == LINE.format(checkpoint.relative_to(workspace.root))
    assert workspace.temporaries() == [str(checkpoint.relative_to(workspace.root))]

    disk.make_room()
    assert first_epoch(training, succeeded(workspace.stage(*training)).output) > 1
    assert workspace.digests(*EVERYTHING) == pipeline.workspace.digests(*EVERYTHING)


# --- Ray's folder ---------------------------------------------------------------------------------


@pytest.fixture
def rays_disk() -> Iterator[SmallDisk]:
    """At a short path, as Ray's sockets need."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder,
        small_disk(Path(folder), 256) as disk,
    ):
        yield disk


def test_a_cluster_whose_folder_is_full_is_not_started(
    bare: Workspace, rays_disk: SmallDisk
) -> None:
    rays_disk.fill()
    environment = {**NO_CLUSTER, "RAY_TMPDIR": str(rays_disk.folder)}
    finished = bare.stage("prepare", "shapes", env=environment)
    assert the_error(finished) == LINE.format(rays_disk.folder / "ray")
    assert bare.digests(*EVERYTHING) == {}


def test_a_stage_whose_clusters_folder_is_full_runs_again_once_there_is_room(
    bare: Workspace, rays_disk: SmallDisk
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in NO_CLUSTER:
            patch.delenv(name, raising=False)
        patch.setenv("RAY_TMPDIR", str(rays_disk.folder))
        with LocalCluster() as cluster:
            environment = cluster.environment()
            rays_disk.fill()
            finished = bare.stage("prepare", "shapes", env=environment)
            assert the_error(finished) == LINE.format(rays_disk.folder / "ray")
            assert bare.digests(*EVERYTHING) == {}
            assert bare.temporaries() == []

            rays_disk.make_room()
            finished = bare.stage("prepare", "shapes", env=cluster.environment())
            if cluster.lost:
                # A part of it ended for want of room; then a launcher runs its command again.
                finished = bare.stage("prepare", "shapes", env=cluster.environment())
            succeeded(finished)


# --- the flow -------------------------------------------------------------------------------------


def test_a_flow_without_room_in_the_cache_records_nothing_that_is_not_there_and_runs_again(
    disk: SmallDisk, tmp_path: Path, prefect_api: str
) -> None:
    write = "python -c \"open('{}', 'w').write('{}' * 100000)\""
    stages = {
        "first": stage(write.format("first.txt", "1"), "input.txt", out="first.txt"),
        "second": stage(write.format("second.txt", "2"), "first.txt", out="second.txt"),
    }
    workspace = graph(tmp_path / "graph", stages)
    succeeded(workspace.dvc("cache", "dir", "--local", str(disk.folder)))
    flows = Flows(workspace, prefect_api)
    assert flows.run(targets=["first"]).type == "COMPLETED"
    before = workspace.digests("dvc.lock", "*.txt")

    disk.fill(leaving=LITTLE)
    run = flows.run()
    assert (run.type, run.message) == ("FAILED", f"second: {LINE.format(disk.folder)}")
    after = workspace.digests("dvc.lock", "*.txt")
    assert {file: after[file] for file in before} == before

    disk.make_room()
    run = flows.run()
    assert (run.type, run.stages) == ("COMPLETED", {"second": "Completed"})
    assert list(workspace.lock["stages"]) == ["first", "second"]
    for name in ("first.txt", "second.txt"):
        (workspace.root / name).unlink()
    succeeded(workspace.dvc("checkout"))


def test_a_flow_whose_stage_fills_the_workspace_keeps_the_lock_and_runs_again(
    disk: SmallDisk, prefect_api: str
) -> None:
    fill = "test -e enough || head --bytes=1G /dev/zero > filling || true"
    stages = {
        "first": stage("echo 1 > first.txt", "input.txt", out="first.txt"),
        "second": stage(f"echo 2 > second.txt && ({fill})", "first.txt", out="second.txt"),
    }
    workspace = graph(disk.folder, stages)
    flows = Flows(workspace, prefect_api)
    assert flows.run(targets=["first"]).type == "COMPLETED"
    before = workspace.digests("dvc.lock")

    run = flows.run()
    assert (run.type, run.message) == ("FAILED", f"second: {LINE.format(disk.folder)}")
    assert workspace.digests("dvc.lock") == before

    disk.make_room()
    (workspace.root / "enough").touch()
    run = flows.run()
    assert (run.type, run.stages) == ("COMPLETED", {"second": "Completed"})
    assert list(workspace.lock["stages"]) == ["first", "second"]


def test_a_flow_without_room_in_the_remote_says_why_it_cannot_push(
    disk: SmallDisk, tmp_path: Path, prefect_api: str
) -> None:
    write = stage("head --bytes=100K /dev/urandom > out.bin", "input.txt", out="out.bin")
    workspace = graph(tmp_path / "graph", {"write": write})
    succeeded(workspace.dvc("remote", "add", "-d", "--local", "shared", str(disk.folder)))
    disk.fill(leaving=LITTLE)
    flows = Flows(workspace, prefect_api)
    run = flows.run(push=True)
    assert (run.type, run.stages) == ("FAILED", {"write": "Completed"})
    said = r"push: \d files? failed to upload: .*No space left on device.*"
    assert re.fullmatch(said, run.message)

    disk.make_room()
    assert flows.run(push=True).type == "COMPLETED"
    assert json.loads(succeeded(workspace.dvc("status", "--cloud", "--json")).output) == {}
