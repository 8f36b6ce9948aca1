"""`python -m flows.demo`, what `make flow` runs: everything starts, runs, and is gone again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_workspace import Workspace, succeeded


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Where nothing has been computed; ends what a failing test leaves running."""
    created = Workspace.create(tmp_path / "workspace")
    yield created
    for process in created.processes():
        process.kill()


def test_a_run_is_deployed_shown_and_cleaned_up_after(workspace: Workspace) -> None:
    shown = succeeded(workspace.run("python", "-m", "flows.demo", "-p", "dry_run=true"))
    text = shown.output + shown.errors
    assert "Executing deployment step: set_working_directory" in text
    assert "train@shapes-pgd_linf_8-0" in text
    assert shown.output.endswith("The run has completed.\n")
    assert workspace.processes() == []
