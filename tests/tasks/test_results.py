"""The folders that results lie in, wherever they are listed."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tasks.workspace import paths

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders() -> set[str]:
    """Top folders of all that a run leaves beside dvc.lock and DVC's cache."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].values()
    outs = [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in stages
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind, [])
    ]
    others = (paths.unreadable("shapes"), paths.CHECKPOINTS)
    return {Path(path).parts[0] for path in (*outs, *others)}


@pytest.mark.parametrize("file", [".gitignore", ".dockerignore"])
def test_neither_git_nor_an_image_takes_them(file: str, folders: set[str]) -> None:
    lines = (PROJECT / file).read_text().splitlines()
    assert folders <= {line.strip("/") for line in lines}


def test_make_clean_removes_them_and_nothing_else(folders: set[str]) -> None:
    # These tests may themselves be run by a make.
    make = ["make", "--no-print-directory", "--just-print", "clean"]
    shown = subprocess.run(make, cwd=PROJECT, capture_output=True, text=True, check=True)
    command, flag, *removed = shown.stdout.split()
    assert (command, flag) == ("rm", "-rf")
    assert set(removed) == folders
