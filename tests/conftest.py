"""Fixtures of all tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from pipeline_workspace import Workspace

# No test is about time: a busy machine must not fail one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


# Folders and fixtures of tests that start clusters, servers or whole pipelines.
FOLDERS = ("pipeline", "cluster", "deployment", "flows")
FIXTURES = {"ray_cluster", "prefect_api"}
# Files that take longest, whose tests share what their fixtures start.
LONGEST = (
    "test_stack.py",
    "test_no_shared_disk.py",
    "test_recovery.py",
    "test_networks.py",
    "test_data_parallel.py",
    "test_local.py",
)
# The tests of all other files in these folders share nothing but what a process has once.
APART = ("pipeline", "flows")


def _rank(item: pytest.Item) -> int:
    """What takes longest comes first: what is begun last should not keep one process alone."""
    if item.path.name in LONGEST:
        return LONGEST.index(item.path.name)
    if item.path.parent.name in FOLDERS:
        return len(LONGEST) + FOLDERS.index(item.path.parent.name)
    long = item.get_closest_marker("long") is not None
    return len(LONGEST) + len(FOLDERS) + (not long)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long and begin with it."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.path.parent.name in FOLDERS or FIXTURES.intersection(fixtures):
            item.add_marker("long")
    items.sort(key=_rank)


class _Scheduling(LoadScopeScheduling):
    """One process runs the tests of a file, which share what its fixtures start.

    Two of them must not start the services of docker-compose.yml at once: SeaweedFS, whose parts
    find each other by sockets in /tmp, would mix them up. xdist's own groups have no effect with
    pytest 9.2, which does not read the node ids that xdist 3.8 changes.
    """

    def _split_scope(self, nodeid: str) -> str:
        name = nodeid.split("::", maxsplit=1)[0]
        file = Path(name)
        apart = file.parent.name in APART and file.name not in LONGEST
        return nodeid if apart else name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduling:
    return _Scheduling(config, log)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with cifar10/, tiny-imagenet/ and styles/; in CI it has to be there."""
    folder = os.environ.get("ATCNN_REAL_DATA")
    if folder:
        return Path(folder).resolve()
    reason = "ATCNN_REAL_DATA does not name the folder with real data"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local cluster for the whole session; stages connect to it."""
    # The tests of atcore run where there is no Ray.
    from tasks.cluster.local import LocalCluster  # noqa: PLC0415
    from tasks.cluster.pool import environment  # noqa: PLC0415

    with LocalCluster() as cluster, environment(cluster.environment()):
        yield


@pytest.fixture
def bare(tmp_path: Path) -> Iterator["Workspace"]:
    """A workspace without any output or cluster; ends what a failing test leaves running."""
    # Without it the tests of atcore run where there is no Ray.
    from pipeline_workspace import Workspace  # noqa: PLC0415

    workspace = Workspace.create(tmp_path / "bare")
    yield workspace
    for process in workspace.processes():
        process.kill()


@pytest.fixture(scope="session")
def prefect_api(
    tmp_path_factory: pytest.TempPathFactory,
    ray_cluster: None,  # noqa: ARG001
) -> Iterator[str]:
    """Address of a Prefect server of this session, whose flows find the session's Ray cluster."""
    # Without it the tests of atcore run where there is no Prefect.
    from flows.server import prefect_server  # noqa: PLC0415

    with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
        yield f"{url}/api"
