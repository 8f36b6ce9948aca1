"""What a flow asks of Git."""

import subprocess
from pathlib import Path

import pytest

from flows import git


def test_of_what_git_says_the_reason_is_told_and_not_the_advice(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert not git.has_commit(tmp_path)
    with pytest.raises(git.GitError, match=r"^fatal: ambiguous argument 'HEAD'"):
        git.save_experiment(tmp_path, "first", {})
