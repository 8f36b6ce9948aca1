"""A user's raw images under DVC: on a second machine, in temporary and in queued experiments."""

import subprocess
from pathlib import Path

import pytest
import yaml
from pipeline_workspace import Workspace, draw_photographs, succeeded, wait_until

PREPARE = "prepare@my_folder"
COMMIT = ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "Begin")


def git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def photographs(fresh: Workspace) -> Workspace:
    """A workspace with a folder of images that Git does not know."""
    draw_photographs(fresh, each=10, side=40)
    fresh.set({"run.datasets": ["my_folder"], "dataset.my_folder.image_size": 32})
    return fresh


@pytest.fixture
def tracked(photographs: Workspace) -> Workspace:
    """The images in DVC, and all that belongs there in Git."""
    succeeded(photographs.dvc("add", "raw/my_folder"))
    git(photographs.root, "add", "--all")
    git(photographs.root, *COMMIT)
    return photographs


def experiment(workspace: Workspace, how: str, size: int) -> None:
    succeeded(
        workspace.dvc(
            *("exp", "run", how, "--name", f"of-{size}"),
            *("--set-param", f"dataset.my_folder.image_size={size}", PREPARE),
        )
    )


def image_size(workspace: Workspace, size: int) -> int:
    """That of the images that an experiment has prepared, by the lock that it left."""
    refs = git(workspace.root, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = (name for name in refs if name.endswith(f"/of-{size}"))
    lock = yaml.safe_load(git(workspace.root, "show", f"{ref}:dvc.lock"))
    parameters = lock["stages"][PREPARE]["params"]["params.yaml"]
    return int(parameters["dataset.my_folder.image_size"])


def test_images_come_to_a_second_machine(tracked: Workspace, tmp_path: Path) -> None:
    succeeded(tracked.dvc("remote", "add", "--default", "store", str(tmp_path / "store")))
    git(tracked.root, *COMMIT, "--all")
    succeeded(tracked.dvc("push"))
    git(tmp_path, "clone", "--quiet", str(tracked.root), "second")
    second = Workspace(tmp_path / "second")
    succeeded(second.dvc("pull", "raw/my_folder"))
    images = second.digests("raw/my_folder/*/*.png")
    assert len(images) == 30
    assert images == tracked.digests("raw/my_folder/*/*.png")
    for workspace in (tracked, second):
        succeeded(workspace.repro(PREPARE))
    assert second.digests("data/**/*.arrow") == tracked.digests("data/**/*.arrow")


def test_experiments_run_in_a_folder_of_their_own_and_from_the_queue(tracked: Workspace) -> None:
    experiment(tracked, "--temp", 24)
    experiment(tracked, "--queue", 16)
    succeeded(tracked.dvc("queue", "start"))
    wait_until(
        lambda: "Success" in succeeded(tracked.dvc("queue", "status")).output,
        "the queued experiment",
    )
    assert [image_size(tracked, size) for size in (24, 16)] == [24, 16]


def test_images_that_git_and_dvc_do_not_know_are_copied_where_they_are_named(
    photographs: Workspace,
) -> None:
    git(photographs.root, "add", "--all", "--", ".", ":!raw/my_folder")
    git(photographs.root, *COMMIT)
    succeeded(
        photographs.dvc(
            *("exp", "run", "--temp", "--copy-paths", "raw/my_folder", "--name", "of-24"),
            *("--set-param", "dataset.my_folder.image_size=24", PREPARE),
        )
    )
    assert image_size(photographs, 24) == 24
