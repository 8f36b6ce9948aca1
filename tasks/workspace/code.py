"""Which code decides what a stage writes: dvc.yaml names it, .dvcignore leaves out the plumbing."""

from pathlib import Path

import yaml
from pathspec import GitIgnoreSpec

_ROOT = Path(__file__).parents[2]


def deciding(stage: str) -> list[Path]:
    """The files of code that a stage of dvc.yaml depends on, in the order of their names."""
    stages = yaml.load((_ROOT / "dvc.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)["stages"]
    plumbing = GitIgnoreSpec.from_lines((_ROOT / ".dvcignore").read_text().splitlines())
    named = [_ROOT / dep for dep in stages[stage]["deps"] if dep.startswith(("atcore/", "tasks/"))]
    files = (file for path in named for file in (path, *path.rglob("*")) if file.is_file())
    return sorted(file for file in files if not plumbing.match_file(file.relative_to(_ROOT)))
