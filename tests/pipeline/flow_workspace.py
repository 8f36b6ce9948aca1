"""Flow runs against a real Prefect server, of any DVC repository."""

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from dvc.repo import Repo
from pipeline_workspace import PROJECT, Finished, Running, Workspace, succeeded, wait_until
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

# Runs the flow with each of the arguments given as JSON and prints how it ended.
_SCRIPT = """
import json, sys
from flows.reproduce import reproduce
for arguments in map(json.loads, sys.argv[1:]):
    state = reproduce(**arguments, return_state=True)
    run = str(state.state_details.flow_run_id)
    print("ENDED", json.dumps({"id": run, "type": state.type, "message": state.message}))
"""
# Whose commits those of tests are.
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.com"))
}


@dataclass(frozen=True)
class FlowRun:
    """A flow run that has ended, as Prefect's server remembers it."""

    api: str
    id: str
    type: str
    message: str

    def _all(self, kind: str) -> list[dict[str, Any]]:
        body = (
            {"flow_runs": {"id": {"any_": [self.id]}}}
            if kind != "logs"
            else {"logs": {"flow_run_id": {"any_": [self.id]}}}
        )
        if kind == "artifacts":
            body = {"artifacts": {"flow_run_id": {"any_": [self.id]}}}
        return list(httpx.post(f"{self.api}/{kind}/filter", json=body).raise_for_status().json())

    def _now(self, key: str) -> str:
        """What the server knows of it now."""
        return str(httpx.get(f"{self.api}/flow_runs/{self.id}").raise_for_status().json()[key])

    @property
    def state(self) -> str:
        """The type of the state that it has now."""
        return self._now("state_type")

    @property
    def deployment(self) -> str:
        return self._now("deployment_id")

    def wait(self) -> str:
        """The type of the state in which it ends."""
        return wait_until(
            lambda: state if (state := self.state) in FINAL else None,
            f"the end of the run {self.id}",
        )

    @property
    def stages(self) -> dict[str, str]:
        """Name of the final state of each stage's task run."""
        return {run["name"]: run["state"]["name"] for run in self._all("task_runs")}

    @property
    def tries(self) -> dict[str, int]:
        return {run["name"]: run["run_count"] for run in self._all("task_runs")}

    @property
    def lines(self) -> list[str]:
        return [log["message"] for log in self._all("logs")]

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        return {artifact["key"]: artifact for artifact in self._all("artifacts")}


@dataclass(frozen=True)
class Flows:
    """The flow `reproduce` of one workspace, run as a process of its own."""

    workspace: Workspace
    api: str
    # For its runs; None removes a name.
    environment: Mapping[str, str | None] = field(default_factory=dict)

    def command(self, *command: str) -> Running:
        """Start a command that finds the Prefect server and the project's modules."""
        settings = {
            "PREFECT_API_URL": self.api,
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "ATCNN_WORKSPACE": str(self.workspace.root),
            **IDENTITY,
            # A small graph has no copy of the project.
            "PYTHONPATH": f"{self.workspace.root}:{PROJECT}",
            **self.environment,
        }
        return self.workspace.start(*command, env=settings)

    def start(self, *several: Mapping[str, Any], **arguments: Any) -> Running:
        """Start a run, or several one after the other: to import Prefect takes seconds.

        Of two stages at once: to ask the cluster for its CPUs takes a process.
        """
        given = (json.dumps({"jobs": 2, **each}) for each in several or (arguments,))
        return self.command("python", "-c", _SCRIPT, *given)

    def _all_ended(self, finished: Finished) -> list[FlowRun]:
        lines = [x for x in finished.output.splitlines() if x.startswith("ENDED ")]
        assert lines, finished.output + finished.errors
        return [FlowRun(self.api, **json.loads(x.removeprefix("ENDED "))) for x in lines]

    def ended(self, finished: Finished) -> FlowRun:
        return self._all_ended(finished)[-1]

    def run(self, **arguments: Any) -> FlowRun:
        with self.start(**arguments) as running:
            return self.ended(running.wait())

    def runs(self, *several: Mapping[str, Any]) -> list[FlowRun]:
        with self.start(*several) as running:
            return self._all_ended(running.wait())

    def latest(self) -> FlowRun:
        """The run that began last, of any deployment or none."""
        body = {"sort": "START_TIME_DESC", "limit": 1}
        (found,) = httpx.post(f"{self.api}/flow_runs/filter", json=body).raise_for_status().json()
        return FlowRun(self.api, found["id"], "", "")

    def deploy(self) -> None:
        """Offer the project's deployments for runs in this workspace, to whoever takes them."""
        for name in ("prefect.yaml", "deployment", "flows", "tasks"):
            link = self.workspace.root / name
            if not link.exists():
                link.symlink_to(PROJECT / name)
        if not self._deployed():
            with self.command("sh", "deployment/deploy.sh") as deploying:
                succeeded(deploying.wait())

    def _deployed(self) -> bool:
        """Whether an earlier test in this place has done it."""
        with SyncPrefectClient(self.api) as client, suppress(ObjectNotFound):
            there = client.read_deployment_by_name("reproduce/default")
            return str(self.workspace.root) in json.dumps(there.pull_steps)
        return False

    def order(self, **parameters: Any) -> FlowRun:
        """Start a run of the deployment `default`, and leave it to whoever takes it."""
        with SyncPrefectClient(self.api) as client:
            there = client.read_deployment_by_name("reproduce/default")
            run = client.create_flow_run_from_deployment(there.id, parameters=parameters)
        return FlowRun(self.api, str(run.id), "", "")


def graph(root: Path, stages: Mapping[str, Mapping[str, Any]]) -> Workspace:
    """A DVC repository with these stages and the project's parameters."""
    root.mkdir(exist_ok=True)
    workspace = Workspace(root)
    (root / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": dict(stages)}))
    (root / "input.txt").write_text("input\n")
    git(workspace, "init", "--quiet")
    # As `dvc init`, without a process for it.
    Repo.init(str(root)).close()
    git(workspace, "add", "--all")
    git(workspace, "commit", "--quiet", "--message", "Begin")
    return workspace


def git(workspace: Workspace, *arguments: str) -> None:
    environment = workspace.environment(IDENTITY)
    subprocess.run(["git", *arguments], cwd=workspace.root, env=environment, check=True)


def stage(command: str, *deps: str, out: str, params: str | None = None) -> dict[str, Any]:
    """A stage of a small graph."""
    described: dict[str, Any] = {"cmd": command, "deps": list(deps), "outs": [out]}
    return described | ({"params": [params]} if params else {})
