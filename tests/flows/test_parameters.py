"""What DVC reads of a run's parameters: the values that it would find itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import ParseError
from flow_workspace import graph

from flows.parameters import PARAMS, Parameters, own_parameters
from flows.pipeline import Pipeline

TEXT = """
run:
  seed: 3
  methods: [standard, pgd_linf_8]
method:
  pgd_linf_8: {eps: 8/255, steps: null}
empty: {}
"""
KEYS = ["run.seed", "run.methods", "run.methods.1", "method.pgd_linf_8", "empty", "run"]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repo]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / PARAMS).write_text(TEXT)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        yield repo


def depending(repo: Repo, keys: list[str]) -> ParamsDependency:
    stage = repo.stage.create(cmd="true", name="s", params=keys, outs=["out"])
    (dep,) = stage.deps
    return dep


def served(repo: Repo, keys: list[str]) -> ParamsDependency:
    place = Path(repo.root_dir, PARAMS)
    dep = depending(repo, keys)
    Parameters(place, place).serve([dep.stage])
    return dep


def test_values_are_those_that_dvc_finds(repo: Repo) -> None:
    found = served(repo, KEYS).read_params()
    assert found == depending(repo, KEYS).read_params()
    assert list(found) == KEYS
    # What belongs to one stage is not shared with another one.
    assert found["run"]["methods"] is not found["run.methods"]


@pytest.mark.parametrize("missing", ["run.sed", "run.seed.0", "run.methods.7", "run.methods.x"])
def test_what_is_not_there_is_missed_as_dvc_misses_it(repo: Repo, missing: str) -> None:
    keys = ["run.seed", missing]
    for dep in (served(repo, keys), depending(repo, keys)):
        assert dep.read_params() == {"run.seed": 3}
        with pytest.raises(DvcException, match=missing):
            dep.get_hash()


def test_a_damaged_file_is_an_error_of_dvc(repo: Repo) -> None:
    dep = served(repo, KEYS)
    Path(PARAMS).write_text("run: [")
    with pytest.raises(ParseError):
        dep.read_params()


def test_overrides_decide_which_stages_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = {
        "prepare": {
            "matrix": {"dataset": "${run.datasets}"},
            "cmd": "cp input.txt ${item.dataset}",
            "deps": ["input.txt"],
            "outs": ["${item.dataset}"],
        }
    }
    root = graph(tmp_path / "graph", stages).root
    monkeypatch.chdir(root)
    own = own_parameters(["run.datasets=[cifar10]"], tmp_path)
    plan = Pipeline(root, own).plan([], force=False)
    assert [planned.name for planned in plan] == ["prepare@cifar10"]
