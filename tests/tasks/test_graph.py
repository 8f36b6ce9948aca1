"""dvc.yaml against the code: a stage depends on its module and on the rooms it imports from."""

import ast
from pathlib import Path

import grimp
import pytest
import yaml
from dvc.repo import Repo

from tasks.workspace.code import deciding

ROOT = Path(__file__).parents[2]
PACKAGES = ("atcore", "tasks", "flows")
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
GRAPH = grimp.build_graph(*PACKAGES)


@pytest.fixture(scope="module")
def repo() -> Repo:
    return Repo(str(ROOT))


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    package = path / "__init__.py"
    return package if package.exists() else path.with_suffix(".py")


def _imported(module: str) -> set[Path]:
    """Files that importing `module` runs: the modules upstream of it and their packages."""
    modules = GRAPH.find_upstream_modules(module) | {module}
    packages = {m.rsplit(".", depth)[0] for m in modules for depth in range(1, m.count(".") + 1)}
    return {_file(m) for m in modules | packages}


def _dep(file: Path) -> str:
    """What names a file in dvc.yaml: its room of atcore, or itself."""
    parts = file.relative_to(ROOT).parts
    return "/".join(parts[:2] if parts[0] == "atcore" else parts)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_module_and_the_rooms_it_imports_from(
    stage: str, repo: Repo
) -> None:
    module = f"tasks.{STAGES[stage]['cmd'].split()[3]}"
    counts = {f for f in _imported(module) if not repo.dvcignore.is_ignored_file(str(f))}
    named = {dep for dep in STAGES[stage]["deps"] if dep.startswith(PACKAGES)}
    assert named == {_dep(file) for file in counts}
    assert counts <= set(deciding(stage))


def test_what_does_not_count_in_a_room_decides_nothing(repo: Repo) -> None:
    plumbing = [
        file
        for file in (ROOT / "atcore").rglob("*.py")
        if repo.dvcignore.is_ignored_file(str(file))
    ]
    assert ROOT / "atcore/base/errors.py" in plumbing
    # What it has is for those who use atcore from outside.
    assert GRAPH.find_modules_that_directly_import("atcore") == set()
    plumbing.remove(ROOT / "atcore/__init__.py")
    for file in plumbing:
        for statement in ast.parse(file.read_text()).body:
            # Docstrings, and exceptions that are nothing but their name.
            body = statement.body if isinstance(statement, ast.ClassDef) else [statement]
            assert all(isinstance(part, ast.Expr) for part in body), file


def test_every_file_of_a_room_counts_for_dvc_and_for_checkpoints_alike(repo: Repo) -> None:
    for stage in STAGES:
        found: set[Path] = set()
        for dep in filter(lambda dep: dep.startswith(PACKAGES), STAGES[stage]["deps"]):
            path = ROOT / dep
            found |= {Path(f) for f in repo.dvcignore.find(repo.fs, str(path))} or {path}
        assert found == set(deciding(stage))


def test_the_stages_can_be_read_from_top_to_bottom() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 250
