"""Overrides of `dvc exp run -S`, and of the flow by the same function, change nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from flow_workspace import graph, stage
from pipeline_workspace import succeeded
from ruamel.yaml import YAML

OWN = Path(__file__).parents[2] / "params.yaml"
LINES = OWN.read_text().splitlines()
Key = tuple[str | int, ...]


def entries(place: Any, key: Key = ()) -> Iterator[tuple[Key, Any, int]]:
    """Key, value and line of everything in the file."""
    for part in place if isinstance(place, dict) else range(len(place)):
        value, here = place[part], (*key, part)
        yield here, value, place.lc.data[part][0]
        if isinstance(value, dict | list):
            yield from entries(value, here)


ENTRIES = list(entries(YAML().load(OWN)))
LEAVES = {key: line for key, value, line in ENTRIES if not isinstance(value, dict | list)}
LISTS = {key: value for key, value, _ in ENTRIES if isinstance(value, list)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes(OWN.read_bytes())
    return path


def written(value: Any) -> str:
    """A value as on the command line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value)


def set_by_dvc(file: Path, values: dict[Key, Any]) -> None:
    """Override values, and see that they are all that is another then."""
    expected = yaml.safe_load(file.read_text())
    for key, value in values.items():
        place = expected
        for part in key[:-1]:
            place = place[part]
        place[key[-1]] = value
    apply_overrides(
        file, [f"{'.'.join(map(str, key))}={written(value)}" for key, value in values.items()]
    )
    assert yaml.safe_load(file.read_text()) == expected


def test_dvc_writes_the_file_as_it_is(file: Path) -> None:
    apply_overrides(file, [])
    assert file.read_bytes() == OWN.read_bytes()


# The numbers of any two leaves differ in a bit, by which one of them is set without the other.
@pytest.mark.parametrize("one", [True, False], ids=["one", "zero"])
@pytest.mark.parametrize("bit", range(len(LEAVES).bit_length()))
def test_every_leaf_is_set_without_any_other_and_changes_its_line_alone(
    file: Path, bit: int, one: bool
) -> None:
    chosen = {key: n for n, key in enumerate(LEAVES) if bool(n >> bit & 1) is one}
    set_by_dvc(file, {key: 1000 + n for key, n in chosen.items()})
    lines = zip(LINES, file.read_text().splitlines(), strict=True)
    changed = {number for number, (before, after) in enumerate(lines) if before != after}
    assert changed == {LEAVES[key] for key in chosen}


def test_lists_can_be_filled_and_emptied_and_leave_the_file_as_it_was(file: Path) -> None:
    for value in ([1, 2.5, "three"], []):
        set_by_dvc(file, dict.fromkeys(LISTS, value))
    set_by_dvc(file, LISTS)
    assert file.read_bytes() == OWN.read_bytes()


def test_dvc_exp_run_sets_one_line(tmp_path: Path) -> None:
    key = "dataset.my_parquet.training.epochs"
    copied = stage("cp params.yaml seen.yaml", out="seen.yaml", params=key)
    workspace = graph(tmp_path / "graph", {"copy": copied})
    succeeded(workspace.dvc("exp", "run", "-S", f"{key}=7"))
    for name in ("params.yaml", "seen.yaml"):
        lines = zip(LINES, (workspace.root / name).read_text().splitlines(), strict=True)
        changes = [after for before, after in lines if before != after]
        assert changes == ["      epochs: 7"]
        content = yaml.safe_load((workspace.root / name).read_text())
        assert content["dataset"]["my_parquet"]["training"]["epochs"] == 7
