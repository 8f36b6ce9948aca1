"""dvc.yaml against the code: a stage depends on every project module that it imports."""

from pathlib import Path

import grimp
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
PACKAGES = ("atcore", "tasks", "flows")
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


def _file(module: str) -> str:
    path = Path(*module.split("."))
    package = path / "__init__.py"
    return str(package if (ROOT / package).exists() else path.with_suffix(".py"))


def _import_closure(module: str) -> set[str]:
    """Files that importing `module` runs: the modules upstream of it and their packages."""
    graph = grimp.build_graph(*PACKAGES)
    modules = graph.find_upstream_modules(module) | {module}
    packages = {m.rsplit(".", depth)[0] for m in modules for depth in range(1, m.count(".") + 1)}
    return {_file(m) for m in modules | packages}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_modules_it_imports(stage: str) -> None:
    module = STAGES[stage]["cmd"].split()[2]
    named = {dep for dep in STAGES[stage]["deps"] if dep.startswith(PACKAGES)}
    files = {dep for dep in named if Path(dep).suffix in (".py", "")}
    assert files == _import_closure(module)
