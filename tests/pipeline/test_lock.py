"""dvc.lock is not in the repository: each run writes its own, and can do without it."""

import json
import subprocess

import pytest
from flow_workspace import git
from pipeline_workspace import EVERYTHING, PROJECT, Workspace, stale, succeeded


@pytest.fixture
def committed(workspace: Workspace) -> Workspace:
    """A finished run in a clone of the project: what the repository has is committed."""
    git(workspace, "add", "--all", "--", ":!dvc.lock")
    git(workspace, "commit", "--quiet", "--message", "Begin")
    return workspace


def test_the_repository_has_no_lock_of_another_machine() -> None:
    listed = ["git", "ls-files", "--error-unmatch", "dvc.lock"]
    assert subprocess.run(listed, cwd=PROJECT, capture_output=True, check=False).returncode


def test_after_a_stash_of_the_lock_and_a_pull_that_deletes_it_results_are_restored(
    committed: Workspace,
) -> None:
    before = committed.digests(*EVERYTHING)
    git(committed, "stash", "--quiet", "--include-untracked")
    assert not (committed.root / "dvc.lock").exists()
    again = succeeded(committed.repro())
    assert again.stages_run == ["selection"]  # never restored: it clears what is there
    assert committed.digests(*EVERYTHING) == before
    assert stale(committed) == set()


def test_experiments_are_saved_run_and_shown_without_a_lock_in_the_repository(
    committed: Workspace,
) -> None:
    succeeded(committed.dvc("exp", "save", "--name", "saved"))
    (committed.root / "dvc.lock").unlink()
    run = succeeded(committed.dvc("exp", "run", "--name", "restored"))
    assert run.stages_run == ["selection"]
    shown = json.loads(succeeded(committed.dvc("exp", "show", "--json")).output)
    names = {e["name"] for base in shown for e in base["experiments"] or ()}
    assert names == {"saved", "restored"}
    assert stale(committed) == set()
