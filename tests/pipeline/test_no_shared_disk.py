"""The pipeline by hand, on nodes that see neither the workspace nor the project's code."""

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pipeline_workspace import (
    NO_CLUSTER,
    PROJECT,
    REPRODUCIBLE,
    Pipeline,
    Workspace,
    stage_command,
    succeeded,
    the_error,
)

from atcore.images.stored import StoredTable
from tasks.cluster.local import too_slow
from tasks.processes.addresses import free_port
from tasks.processes.service import service

CODE = [PROJECT / name for name in ("atcore", "tasks", "flows")]
HEAD, *NODES = "127.0.0.4", "127.0.0.2", "127.0.0.3"
# In the environment of a node: what is of another cluster, or of the driver.
UNWANTED = {*NO_CLUSTER, "PYTHONPATH"}
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
TOGETHER = "pgd_linf_8"
# With `prepare`, every kind of stage that computes on the cluster.
CHAIN = (
    ("variants", "shapes", "saturated"),
    ("quality", "shapes", "saturated"),
    ("train", "shapes", "standard", "0"),
    ("evaluate", "shapes", "standard", "0"),
    ("salience", "shapes", "standard", "0"),
    ("train", "shapes", TOGETHER, "0"),
)


@dataclass(frozen=True)
class Remote:
    """A workspace, and the environment of the cluster that does not see it."""

    workspace: Workspace
    environment: Mapping[str, str | None]

    @property
    def storage(self) -> Path:
        return self.workspace.root.with_name("storage")

    @property
    def fetched(self) -> dict[str, dict[str, os.stat_result]]:
        """The image tables that each node has for itself, by their digests."""
        return {
            ip: {file.stem: file.stat() for file in cache(self.workspace, ip).rglob("*.arrow")}
            for ip in NODES
        }


def cache(workspace: Workspace, ip: str) -> Path:
    return workspace.root.with_name(f"cache-{ip}")


@contextmanager
def node(environment: Mapping[str, str], *start: str, before: str = "true") -> Iterator[None]:
    """A Ray node on this machine, started after a shell command in the same mount namespace."""
    # Not pytest's folder: the path of a socket has no more than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-node-") as folder:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command = shlex.join([*ray, *start, f"--temp-dir={folder}"])
        own = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        with service(
            "Ray",
            [*UNSHARE, "sh", "-c", f"{before} && cd {folder} && exec {command}"],
            env={**own, **environment},
            ready=lambda written: "Ray runtime started" in written,
            again=too_slow,
        ):
            yield


def blind_node(
    environment: Mapping[str, str], address: str, ip: str, hidden: list[Path]
) -> AbstractContextManager[None]:
    """A node of one CPU for which the folders are empty."""
    mounts = " && ".join(f"mount -t tmpfs none {shlex.quote(str(path))}" for path in hidden)
    start = ("--num-cpus=1", f"--address={address}", f"--node-ip-address={ip}")
    return node(environment, *start, before=mounts)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A head without CPUs, which sees everything, and two nodes which see none of the project.

    They have made the images of the workspace.
    """
    if subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount anything, not even in an own namespace")
    workspace = Workspace.create(tmp_path_factory.mktemp("remote") / "workspace")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    port = free_port()
    address = f"{HEAD}:{port}"
    start = ("--head", "--include-dashboard=false", "--num-cpus=0", f"--port={port}")
    with ExitStack() as stack:
        stack.enter_context(node(token, *start, f"--node-ip-address={HEAD}"))
        for ip in NODES:
            own = {**token, "XDG_CACHE_HOME": str(cache(workspace, ip))}
            stack.enter_context(blind_node(own, address, ip, [workspace.root, *CODE]))
        environment = {**NO_CLUSTER, **token, "RAY_ADDRESS": address}
        succeeded(workspace.stage("prepare", "shapes", env=environment))
        yield Remote(workspace, environment)


def test_the_nodes_that_work_see_neither_the_workspace_nor_the_code(remote: Remote) -> None:
    folders = [str(remote.workspace.root), *map(str, CODE)]
    view = str(Path(__file__).with_name("cluster_view.py"))
    environment = {**remote.environment, "PYTHONPATH": str(remote.workspace.root)}
    shown = succeeded(remote.workspace.run("python", view, *folders, env=environment))
    views = json.loads(shown.output)
    (head,) = set(views) - {"driver", *NODES}
    assert views[head]["cpus"] == 0
    assert all(views["driver"]["names"].values())
    assert "params.yaml" in views["driver"]["names"][folders[0]]
    for ip in NODES:
        assert views[ip]["cpus"] == 1
        assert views[ip]["names"] == {folder: [] for folder in folders}
        assert "py_modules_files" in views[ip]["code"]


def test_a_storage_that_a_node_does_not_see_is_refused(remote: Remote) -> None:
    mine = str(remote.workspace.root / "storage")
    before = remote.workspace.set({f"method.{TOGETHER}.workers": 2, "ray.storage": mine})
    train = ("train", "shapes", TOGETHER, "0")
    message = the_error(remote.workspace.stage(*train, env=remote.environment))
    (remote.workspace.root / "params.yaml").write_text(before)
    assert message.startswith(f"ray.storage: {mine} is not shared: ")
    assert any(ip in message for ip in NODES)


def in_order(
    workspace: Workspace,
    stages: Sequence[tuple[str, ...]],
    environment: Mapping[str, str | None],
) -> None:
    script = " && ".join(" ".join(stage_command(*stage)) for stage in stages)
    succeeded(workspace.run("sh", "-c", script, env=environment))


def test_stages_write_there_what_they_wrote_under_dvc_on_one_machine(
    pipeline: Pipeline, remote: Remote
) -> None:
    workspace = remote.workspace
    workspace.set(
        {
            f"method.{TOGETHER}.workers": 2,
            "ray.storage": str(remote.storage),
        }
    )
    for variant in ("patch_shuffled", "cue_conflict"):
        made = Path("variants/shapes", variant)
        shutil.copytree(pipeline.workspace.root / made, workspace.root / made)
    first = CHAIN.index(("train", "shapes", "standard", "0")) + 1
    in_order(workspace, CHAIN[:first], remote.environment)
    once = remote.fetched
    in_order(workspace, CHAIN[first:], remote.environment)
    written = workspace.digests(*REPRODUCIBLE)
    # Three splits, the table of each variant, one quality, of one network the weights, predictions,
    # maps and measures, and the weights of the other one.
    assert len(written) == 3 + 3 + 1 + 4 + 1
    alike = {file for file in written if TOGETHER not in file}
    assert len(alike) == len(written) - 1
    expected = pipeline.workspace.digests(*REPRODUCIBLE)
    assert {f: written[f] for f in alike} == {f: expected[f] for f in alike}
    assert workspace.temporaries() == []
    assert list(remote.storage.iterdir()) == []

    # Nothing came to a node twice, though both trainings were on one of them: of each table it has
    # the same file as after the first, and never had another.
    training = StoredTable(workspace.root / "data/shapes/train.arrow").digest
    assert [training in tables for tables in once.values()].count(True) == 1
    assert all(training in tables for tables in remote.fetched.values())
    for ip, tables in once.items():
        now = remote.fetched[ip]
        assert {name: now[name].st_ino for name in tables} == {
            name: file.st_ino for name, file in tables.items()
        }
    sizes = {
        StoredTable(file).digest: file.stat().st_size
        for folder in ("data", "variants")
        for file in (workspace.root / folder).rglob("*.arrow")
    }
    for tables in remote.fetched.values():
        assert {name: file.st_size for name, file in tables.items()}.items() <= sizes.items()
