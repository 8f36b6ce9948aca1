"""docker-compose.yml at work: all services without a GPU, and a run of the deployment on them."""

import json
from collections.abc import Iterator

import pytest
from compose_file import documented_variables, load
from containers import Service, require_network_namespaces, up
from pipeline_workspace import Workspace, wait_until

# Every kind of stage that needs the one before, on as little as possible.
TINY = {
    "run.methods": ["standard"],
    "run.controls": [],
    "run.variants": [],
    "dataset.shapes.images": {"train": 80, "validation": 16, "test": 16},
    "dataset.shapes.training.epochs": 1,
    # Its checkpoints go through the store.
    "method.standard.workers": 2,
    "ray.storage": "s3://atcnn/ray",
}
STATUS = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1]).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
WATCH = ("--watch", "--watch-interval=1")
# Of all runs, the latest first.
STATES = """
import json
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort
with get_client(sync_client=True) as client:
    runs = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC)
print(json.dumps([run.state_type for run in runs]))
"""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    require_network_namespaces()
    folder = tmp_path_factory.mktemp("stack")
    image = Workspace.create(folder / "image")
    image.set(TINY)
    secrets = {name: f"{name.lower()}-of-this-test" for name in documented_variables()}
    secrets |= {"PREFECT_AUTH": "name:password", "BIND_ADDRESS": "", "RAY_WORKER_CPUS": ""}
    entries = load(secrets)["services"]
    started = {name: entry for name, entry in entries.items() if "profiles" not in entry}
    # How often the worker asks for runs: by itself every ten seconds.
    started["prefect-worker"]["environment"]["PREFECT_WORKER_QUERY_SECONDS"] = "1"
    with up(started, image.root, folder / "services") as running:
        yield running


@pytest.fixture(scope="module")
def run(services: dict[str, Service]) -> str:
    """What `prefect deployment run` said of a run that pushes its results."""
    options = ("-p", "push=true", "-p", "jobs=2", "-p", 'overrides=["run.seed=3"]')
    command = ("prefect", "--no-prompt", "deployment", "run", "reproduce/default")
    finished = services["prefect-worker"].run(*command, *options, *WATCH)
    logs = "".join(services[name].log for name in ("prefect-worker", "s3"))
    assert finished.returncode == 0, finished.stdout + logs
    return finished.stdout


def answer(service: Service, url: str) -> str:
    """The HTTP status of a request without any credentials."""
    return service.run("python", "-c", STATUS, url).stdout.strip()


def test_a_run_of_the_deployment_completes(run: str) -> None:
    assert "Completed" in run


def test_its_results_are_in_the_object_store(services: dict[str, Service], run: str) -> None:  # noqa: ARG001
    worker = services["prefect-worker"]
    dvc = ("dvc", "--cd", str(worker.volume))
    status = worker.run(*dvc, "status", "--cloud", "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout) == {}
    remote = worker.run(*dvc, "remote", "list").stdout.split()
    assert remote[:2] == ["store", "s3://atcnn/dvc"]


def test_results_of_a_run_stay_in_the_workspace(services: dict[str, Service], run: str) -> None:  # noqa: ARG001
    workspace = services["prefect-worker"].volume
    assert (workspace / "reports/index.html").is_file()
    assert (workspace / "models/shapes/standard/0/model.safetensors").is_file()


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://prefect-server:4200/api/version", "401"),
        ("http://ray-head:8265/api/version", "401"),
        ("http://s3:8333/atcnn", "403"),
    ],
)
def test_strangers_are_sent_away(services: dict[str, Service], url: str, status: str) -> None:
    assert answer(services["prefect-worker"], url) == status


def test_all_deployments_are_there(services: dict[str, Service]) -> None:
    listed = services["prefect-worker"].run("prefect", "deployment", "ls").stdout
    for name in ("default", "train", "variants", "evaluate", "report"):
        assert f"reproduce/{name}" in listed


def test_a_worker_that_is_stopped_and_started_again_ends_its_run_and_takes_the_next(
    services: dict[str, Service],
    run: str,  # noqa: ARG001
) -> None:
    """As a new version does: `docker compose up --build`."""
    worker = services["prefect-worker"]
    start = ("prefect", "--no-prompt", "deployment", "run", "reproduce/default", "-p", "force=true")
    before = len(worker.log)
    assert worker.run(*start).returncode == 0
    wait_until(lambda: "stages to look at" in worker.log[before:], "the run to begin")
    worker.stop()
    worker.start()
    worker.wait("service_healthy")
    ended = worker.run(*start, "-p", 'targets=["prepare"]', *WATCH)
    assert ended.returncode == 0, ended.stdout + worker.log[before:]
    states = json.loads(worker.run("python", "-c", STATES).stdout)
    assert states == ["COMPLETED", "CRASHED", "COMPLETED"]
