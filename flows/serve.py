"""`python -m flows.serve`: offers the deployments of prefect.yaml without a work pool.

Runs take place in the current folder, one at a time, for as long as this process runs.
"""

from pathlib import Path
from typing import Any

import yaml
from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron, Schedule

from flows.reproduce import reproduce

DEPLOYMENTS = Path(__file__).parents[1] / "prefect.yaml"


def _schedule(entry: dict[str, Any]) -> Schedule:
    return Cron(entry["cron"], **{key: value for key, value in entry.items() if key != "cron"})


def deployments() -> list[RunnerDeployment]:
    """Those of prefect.yaml, by the same names and with the same parameters and schedules."""
    return [
        RunnerDeployment.from_flow(
            reproduce,
            name=entry["name"],
            description=entry["description"],
            parameters=entry.get("parameters", {}),
            schedules=[_schedule(schedule) for schedule in entry.get("schedules", [])],
        )
        for entry in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]
    ]


if __name__ == "__main__":
    serve(*deployments(), limit=1)
