"""`python -m flows.serve`: offers the deployments of prefect.yaml without a work pool.

Runs take place in the current folder, one at a time, for as long as this process runs.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from prefect import serve
from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
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


def take_over(served: Iterable[RunnerDeployment]) -> None:
    """Withdraw deployments of these names from a work pool.

    Prefect would update them, keep the work pool and forget where the flow lies.
    """
    with get_client(sync_client=True) as client:
        for deployment in served:
            name = f"{deployment.flow_name}/{deployment.name}"
            with suppress(ObjectNotFound):
                found = client.read_deployment_by_name(name)
                if found.work_pool_name is not None:
                    print(f"{name} leaves the work pool {found.work_pool_name}", flush=True)
                    client.delete_deployment(found.id)


if __name__ == "__main__":
    offered = deployments()
    take_over(offered)
    serve(*offered, limit=1)
