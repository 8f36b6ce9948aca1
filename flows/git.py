"""What a flow asks of Git: the committed parameters, and commits of experiments."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

# Experiments are commits without a person, which has to work where Git knows none.
_IDENTITY = ("-c", "user.name=atcnn", "-c", "user.email=atcnn@localhost")


class GitError(Exception):
    """Git refused; the message is the line that says why."""


def _git(root: Path, *arguments: str, index: Path | None = None) -> str:
    environment = os.environ | ({"GIT_INDEX_FILE": str(index)} if index else {})
    ended = subprocess.run(
        ["git", *_IDENTITY, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        lines = ended.stderr.strip().splitlines()
        # Advice may follow.
        fatal = [line for line in lines if line.startswith("fatal: ")]
        raise GitError([*fatal, *lines[-1:], f"git {arguments[0]} refused"][0])
    return ended.stdout


def committed(root: Path, file: str) -> str | None:
    """The content of a file of the folder in the last commit, if it is there."""
    try:
        return _git(root, "show", f"HEAD:./{file}")
    except GitError:
        return None


def _experiment(baseline: str, name: str) -> str:
    """The reference where DVC looks for the experiments that belong to a commit."""
    return f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"


def allows_experiment(root: Path, name: str) -> bool:
    """Whether DVC and Git can keep an experiment of this name."""
    try:
        _git(root, "check-ref-format", _experiment("0" * 40, name))
    except GitError:
        return False
    return "/" not in name


def has_commit(root: Path) -> bool:
    """Whether there is a commit that an experiment can belong to."""
    try:
        _git(root, "rev-parse", "--verify", "HEAD")
    except GitError:
        return False
    return True


def save_experiment(root: Path, name: str, files: Mapping[str, Path]) -> None:
    """Commit the tracked files of a folder as a DVC experiment, replacing one of this name.

    `dvc exp save` would first record every stage anew with what is in the workspace now, also
    those that are out of date, and have HEAD moved meanwhile. Here nothing but the reference is
    written.

    Args:
        files: to be committed by their path in the folder, tracked or not: where they are read.

    Raises:
        GitError: there is no commit that the experiment could belong to.
    """
    baseline = _git(root, "rev-parse", "HEAD").strip()
    prefix = _git(root, "rev-parse", "--show-prefix").strip()
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        _git(root, "read-tree", "HEAD", index=index)
        _git(root, "add", "--update", ".", index=index)
        for path, source in files.items():
            blob = _git(root, "hash-object", "-w", "--", str(source.resolve())).strip()
            entry = f"100644,{blob},{prefix}{path}"
            _git(root, "update-index", "--add", "--cacheinfo", entry, index=index)
        tree = _git(root, "write-tree", index=index).strip()
    message = f"dvc: commit experiment {name}"
    commit = _git(root, "commit-tree", tree, "-p", baseline, "-m", message).strip()
    _git(root, "update-ref", _experiment(baseline, name), commit)
