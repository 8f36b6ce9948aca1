"""prefect.yaml against dvc.yaml, and `python -m flows.serve` against prefect.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.reproduce import reproduce
from flows.serve import DEPLOYMENTS, deployments

STAGES = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text())["stages"]
FILE: list[dict[str, Any]] = yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]


def _folders(stage: str) -> set[str]:
    """The top folders that a stage writes into."""
    return {str(out).split("/")[0] for out in STAGES[stage]["outs"]}


@pytest.mark.parametrize("entry", FILE, ids=lambda entry: entry["name"])
class TestDeployment:
    def test_its_targets_are_all_stages_that_write_into_the_same_folders(
        self, entry: dict[str, Any]
    ) -> None:
        targets = set(entry.get("parameters", {}).get("targets", []))
        folders = {folder for target in targets for folder in _folders(target)}
        assert {stage for stage in STAGES if _folders(stage) & folders} == targets

    def test_its_parameters_suit_the_flow(self, entry: dict[str, Any]) -> None:
        reproduce.validate_parameters(entry.get("parameters", {}))

    def test_it_says_what_it_does(self, entry: dict[str, Any]) -> None:
        assert entry["description"].strip().endswith(".")

    def test_no_limit_of_prefect_counts_its_runs(self, entry: dict[str, Any]) -> None:
        """It would count one that was killed, and let none begin any more."""
        assert "concurrency_limit" not in entry

    def test_nothing_runs_by_itself_unless_someone_switches_it_on(
        self, entry: dict[str, Any]
    ) -> None:
        assert not any(schedule["active"] for schedule in entry.get("schedules", []))


def test_the_first_deployment_is_everything() -> None:
    assert FILE[0]["name"] == "default"
    assert "parameters" not in FILE[0]


def test_what_is_served_is_what_is_deployed() -> None:
    served = deployments()
    assert [d.name for d in served] == [entry["name"] for entry in FILE]
    assert {d.flow_name for d in served} == {"reproduce"}
    assert [d.parameters for d in served] == [entry.get("parameters", {}) for entry in FILE]
    assert [d.description for d in served] == [entry["description"] for entry in FILE]
    (nightly,) = served[0].schedules
    assert not nightly.active
    assert nightly.schedule.cron == FILE[0]["schedules"][0]["cron"]
