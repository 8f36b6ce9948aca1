"""The flow on the project's own pipeline, reduced, and on a real Ray cluster."""

import secrets
import signal
from collections.abc import Mapping

import pytest
from flow_workspace import Flows
from pipeline_workspace import (
    EVERYTHING,
    NO_CLUSTER,
    REPRODUCIBLE,
    Pipeline,
    Running,
    Workspace,
    ray_workers,
    succeeded,
    wait_until,
)

from tasks.cluster.fork_request import server
from tasks.processes.addresses import free_port

TRAINING = "_train_remotely"


def test_the_flow_writes_byte_for_byte_what_dvc_repro_wrote_and_the_same_lock(
    pipeline: Pipeline, fresh: Workspace, prefect_api: str
) -> None:
    run = Flows(fresh, prefect_api).run(jobs=3)
    assert run.type == "COMPLETED", run.message
    assert sorted(run.stages) == sorted(pipeline.first.stages_run)
    assert set(run.stages.values()) == {"Completed"}
    expected = pipeline.workspace.digests(*REPRODUCIBLE)
    assert fresh.digests(*REPRODUCIBLE) == expected
    assert fresh.lock == pipeline.workspace.lock
    assert succeeded(fresh.repro()).stages_run == []
    assert "reports/index.html" in run.artifacts["summary"]["data"]


def test_after_dvc_repro_the_flow_runs_nothing(workspace: Workspace, prefect_api: str) -> None:
    before = workspace.digests(*EVERYTHING)
    run = Flows(workspace, prefect_api).run()
    assert (run.type, run.stages) == ("COMPLETED", {})
    assert workspace.digests(*EVERYTHING) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_flow_that_is_stopped_takes_its_ray_tasks_with_it(
    workspace: Workspace, prefect_api: str, number: signal.Signals
) -> None:
    workspace.set({"method.pgd_linf_8.learning_rate": 0.03, "training.validation_steps": 400})
    flows = Flows(workspace, prefect_api)
    with flows.start(targets=["train@shapes-pgd_linf_8-0"]) as running:
        wait_until(lambda: ray_workers(TRAINING), "the training")
        running.send(number)
        wait_until(lambda: not ray_workers(TRAINING), "the end of the Ray task", 15)
        wait_until(lambda: not workspace.processes(), "the end of all processes", 15)
    assert succeeded(workspace.dvc("status", "--json")).output


def given_cluster(workspace: Workspace, port: int, environment: Mapping[str, str]) -> Running:
    """The only node of a cluster at that port, as somebody else runs it."""
    head = ("python", "-P", "tasks/cluster/head.py")
    arguments = (str(port), str(free_port()), server(f"127.0.0.1:{port}"))
    return workspace.start(*head, *arguments, env={**NO_CLUSTER, **environment})


def test_a_training_goes_on_to_the_same_model_once_the_cluster_of_ray_address_is_back(
    pipeline: Pipeline, workspace: Workspace, prefect_api: str
) -> None:
    common = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Makes Ray take 127.0.0.1 for what it is.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    port = free_port()
    client = {**common, "RAY_ADDRESS": f"127.0.0.1:{port}"}
    flows = Flows(workspace, prefect_api, client)
    with given_cluster(workspace, port, common) as first:
        wait_until(lambda: "The node is up." in first.output, "the cluster")
        with flows.start(targets=["train@shapes-pgd_linf_8-0"], force=True) as running:
            wait_until(lambda: running.ended or workspace.checkpoint, "the first checkpoint")
            (control,) = (p for p in workspace.processes() if p.name() == "gcs_server")
            control.kill()
            wait_until(lambda: first.ended, "the end of the cluster")
            with given_cluster(workspace, port, common):
                run = flows.ended(running.wait())
    assert (run.type, run.tries["train@shapes-pgd_linf_8-0"]) == ("COMPLETED", 2)
    model = "models/shapes/pgd_linf_8/0/*"
    assert workspace.digests(model) == pipeline.workspace.digests(model)
