"""The pipeline by hand, on nodes that see neither the workspace nor the project's code."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pipeline_workspace import (
    PROJECT,
    REPRODUCIBLE,
    Pipeline,
    Workspace,
    cluster_with,
    stage_command,
    succeeded,
    the_error,
    wait_until,
)

from tasks.processes.tether import tethered

CODE = [PROJECT / name for name in ("atcore", "tasks", "flows")]
NODES = ("127.0.0.2", "127.0.0.3")
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
    environment: Mapping[str, str]

    @property
    def storage(self) -> Path:
        return self.workspace.root.with_name("storage")


@contextmanager
def blind_node(environment: Mapping[str, str], ip: str, hidden: list[Path]) -> Iterator[None]:
    """A node of one CPU in a mount namespace of its own, in which the folders are empty."""
    own = ("RAY_ADDRESS", "PYTHONPATH")
    kept = {name: value for name, value in environment.items() if name not in own}
    mounts = [f"mount -t tmpfs none {shlex.quote(str(path))}" for path in hidden]
    # Not pytest's folder: the path of a socket has no more than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-node-") as folder:
        start = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"),
            *(f"--address={environment['RAY_ADDRESS']}", f"--node-ip-address={ip}"),
            f"--temp-dir={folder}",
        ]
        command = [*UNSHARE, "sh", "-c", " && ".join([*mounts, f"exec {shlex.join(start)}"])]
        log = Path(folder) / "log"
        with (
            log.open("wb") as output,
            tethered(command, env=kept, cwd=Path(folder), output=output) as running,
        ):
            wait_until(
                lambda: "Ray runtime started" in log.read_text() or running.poll() is not None,
                f"the node {ip}",
            )
            assert running.poll() is None, log.read_text()
            yield


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A head without CPUs, which sees everything, and two nodes which see none of the project.

    They have made the images of the workspace.
    """
    if subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount anything, not even in an own namespace")
    workspace = Workspace.create(tmp_path_factory.mktemp("remote") / "workspace")
    with cluster_with(cpus=0) as environment, ExitStack() as stack:
        for ip in NODES:
            stack.enter_context(blind_node(environment, ip, [workspace.root, *CODE]))
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
    script = " && ".join(" ".join(stage_command(*stage)) for stage in CHAIN)
    succeeded(workspace.run("sh", "-c", script, env=remote.environment))
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
