"""What make says before it installs anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", ["repro", "flow", "paper"])
def test_a_folder_without_git_is_refused_at_once(target: str, tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(PROJECT / name, tmp_path / name)
    ended = subprocess.run(
        ["make", "--silent", target], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[0] == (
        "error: this folder is no Git repository, in which alone DVC works; run `git init` here"
    )
    assert not (tmp_path / ".venv").exists()
