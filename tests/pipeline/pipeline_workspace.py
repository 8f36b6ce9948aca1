"""A small copy of the project, driven from outside as a user does: dvc and `python -m tasks X`."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from tasks.cluster.local import LocalCluster

Found = TypeVar("Found")

PROJECT = Path(__file__).parents[2]
EPOCHS = 6
# Small enough for CI, large enough that images, variants and predictions take several Ray tasks.
SMALL: dict[str, Any] = {
    "run.methods": ["standard", "pgd_linf_8"],
    "run.controls": ["underfit"],
    "run.variants": ["saturated", "patch_shuffled", "cue_conflict"],
    "dataset.shapes.images": {"train": 160, "validation": 40, "test": 520},
    "dataset.shapes.training.epochs": EPOCHS,
    "dataset.shapes.training.batch_size": 16,
    "dataset.shapes.training.attack_steps": 1,
    "dataset.shapes.training.threads": 1,
    "variant.saturated.levels": [4],
    "variant.patch_shuffled.levels": [2],
    "method.pgd_linf_8.attack.step_size": 1,
    # Robust accuracy on so few images jumps; that must not look like a collapse.
    "method.pgd_linf_8.eps_warmup": 1,
    "evaluate.robustness": [{"norm": "linf", "eps": "8/255", "step_size": 0.5, "steps": 2}],
    "quality.images": 100,
    "quality.epochs": 1,
    "salience.images": 2,
    "salience.measured": {
        "gradient": 20,
        "smoothgrad": 2,
        "integrated_gradients": 12,
        "grad_cam": 20,
    },
    "salience.smooth_samples": 4,
    "salience.integration_steps": 2,
}
MODELS = ("standard", "underfit", "pgd_linf_8")
# Folders that stages write into.
OUTPUTS = (
    "data",
    "models",
    "curves",
    "variants",
    "predictions",
    "quality",
    "salience",
    "reports",
)
EVERYTHING = tuple(f"{folder}/**/*" for folder in OUTPUTS)
# What has to be equal byte for byte wherever and however often it is computed.
REPRODUCIBLE = (
    "data/**/*.arrow",
    "variants/**/*.arrow",
    "models/**/model.safetensors",
    "predictions/**/*.parquet",
    "quality/**/*.json",
    "salience/**/maps.safetensors",
    "salience/**/measures.parquet",
)
# Instead of those of the session's cluster.
NO_CLUSTER = dict.fromkeys(
    ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
)
# What Ray's client logs before it can be told to be quiet, once per try to connect, and where it
# cannot write its log.
_OF_RAY = re.compile(r"\[\d{4}-\d\d-\d\d .*\] gcs_client\.cc:|\[\*\*\* LOG ERROR ")
# What is said on a busy machine.
_OF_WAITING = re.compile(r"waiting for .*: \d+ s of at most \d+ s|waited \d+ s for .*")
_SECONDS = 600
# Between two looks: at a file, and at most. What takes long to look at is looked at less often, for
# what is waited for needs the processors too.
_SHORT, _LONG = 0.002, 0.2
# Finds the processes of one test, also those that left its process group.
_MARK = "ATCNN_TEST_WORKSPACE"


def wait_until(
    condition: Callable[[], Found | None], what: str, seconds: float = _SECONDS
) -> Found:
    """The first result of `condition` that is true; fails once the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        since = time.monotonic()
        if found := condition():
            return found
        if since > deadline:
            pytest.fail(f"waited {seconds} s for {what}")
        time.sleep(min(max(_SHORT, 10 * (time.monotonic() - since)), _LONG))


@dataclass(frozen=True)
class Finished:
    """A command that has ended: exit status, standard output and standard error."""

    status: int
    output: str
    errors: str

    @property
    def complaints(self) -> list[str]:
        """The lines of standard error, without those on what is waited for."""
        return [line for line in self.errors.splitlines() if not _OF_WAITING.fullmatch(line)]

    @property
    def stages_run(self) -> list[str]:
        """The stages that `dvc repro` executed, in order."""
        return re.findall(r"^Running stage '(.+)':$", self.output, re.MULTILINE)


def succeeded(finished: Finished) -> Finished:
    assert finished.status == 0, finished.output + finished.errors
    return finished


def stale(workspace: "Workspace") -> set[str]:
    """The stages that DVC would run because of what they read, not counting what that changes."""
    return set(json.loads(succeeded(workspace.dvc("status", "--json")).output))


def the_error(finished: Finished) -> str:
    """The one line that a user's mistake ends in."""
    assert finished.status not in (0, -signal.SIGKILL), finished.output + finished.errors
    lines = [line for line in finished.complaints if not _OF_RAY.match(line)]
    assert len(lines) == 1, finished.errors
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


class Running:
    """A command in a session of its own, its output in files."""

    def __init__(
        self, command: list[str], root: Path, environment: Mapping[str, str], folder: Path
    ) -> None:
        self._output, self._errors = folder / "output", folder / "errors"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """A signal to the command itself, as a service manager or CI sends it."""
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it to the whole process group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL of the whole process group."""
        if not self.ended:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self, seconds: float = _SECONDS) -> Finished:
        status = self._process.wait(seconds)
        return Finished(status, self.output, self.errors)


@dataclass(frozen=True)
class Workspace:
    """A folder with the project's files, `params.yaml` reduced to what CI has time for."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> "Workspace":
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=PROJECT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            # The results of the project's own run, if there are any, are not those of this one.
            if name != "dvc.lock" and not name.startswith("tests/") and (PROJECT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(PROJECT / name, root / name)
        subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
        workspace = cls(root)
        workspace.set(SMALL)
        return workspace

    def copy(self, root: Path) -> "Workspace":
        """With all outputs and DVC's cache."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return Workspace(root)

    @property
    def _beside(self) -> Path:
        """A folder for what is not the project's."""
        return self.root.with_name(f"{self.root.name}.logs")

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """Of a user's shell with the project's environment on its PATH; None removes a name."""
        wanted = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(self._beside / "dvc"),
            _MARK: str(self.root),
            **(changes or {}),
        }
        merged = {**os.environ, **wanted}
        return {name: value for name, value in merged.items() if value is not None}

    def start(self, *command: str, env: Mapping[str, str | None] | None = None) -> Running:
        self._beside.mkdir(exist_ok=True)
        logs = Path(tempfile.mkdtemp(dir=self._beside))
        return Running(list(command), self.root, self.environment(env), logs)

    def run(self, *command: str, env: Mapping[str, str | None] | None = None) -> Finished:
        with self.start(*command, env=env) as running:
            return running.wait()

    def stage(self, *command: str, env: Mapping[str, str | None] | None = None) -> Finished:
        """`stage("variants", "shapes", "edges")` is the command of that stage in dvc.yaml."""
        return self.run(*stage_command(*command), env=env)

    def dvc(self, *arguments: str) -> Finished:
        return self.run("dvc", *arguments)

    def repro(self, *arguments: str) -> Finished:
        return self.dvc("repro", *arguments)

    def set(self, values: Mapping[str, Any]) -> str:
        """Change values of `params.yaml` by dotted keys; the text before."""
        file = self.root / "params.yaml"
        before = file.read_text()
        content = yaml.safe_load(before)
        for key, value in values.items():
            *sections, last = key.split(".")
            place = content
            for name in sections:
                place = place[name]
            place[last] = value
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return before

    def digests(self, *patterns: str) -> dict[str, str]:
        """SHA-256 of every file that matches, by its name relative to the workspace."""
        files = sorted(f for p in patterns for f in self.root.glob(p) if f.is_file())
        return {
            str(file.relative_to(self.root)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
        }

    @property
    def parameters(self) -> Any:
        """Content of params.yaml."""
        return yaml.safe_load((self.root / "params.yaml").read_text())

    @property
    def lock(self) -> Any:
        """Content of dvc.lock."""
        return yaml.safe_load((self.root / "dvc.lock").read_text())

    @property
    def checkpoint(self) -> Path | None:
        """Of the training that has not ended yet."""
        return next(self.root.glob(".checkpoints/*.pt"), None)

    def temporaries(self) -> list[str]:
        """Names under which stages write what is not complete yet, and checkpoints."""
        hidden = [f for name in OUTPUTS for f in self.root.glob(f"{name}/**/.*.*")]
        kept = self.root.glob(".checkpoints/*")
        half = self.root.glob(".reports.*")
        # DVC keeps a .gitignore beside every output.
        found = [f for f in (*hidden, *kept, *half) if f.name != ".gitignore"]
        return [str(file.relative_to(self.root)) for file in found]

    def processes(self) -> list[psutil.Process]:
        """All living processes that a command of this workspace started, whoever adopted them."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == str(self.root):
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.is_running()]


def ray_workers(name: str) -> list[psutil.Process]:
    """The processes of clusters that this session started whose task or actor has that name."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if f"ray::{name}" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@contextmanager
def cluster_with(cpus: int) -> Iterator[dict[str, str]]:
    """A cluster whose only node has that many CPUs; yields the environment of its clients."""
    with LocalCluster() as cluster:
        # For this cluster alone: another may be started before this one ends.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps({"CPU": cpus}))
            environment = cluster.environment()
        yield environment


def clear(path: Path) -> None:
    """As DVC does with outputs before a run."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def draw_photographs(workspace: "Workspace", each: int, side: int) -> None:
    """Images of noise in raw/my_folder, as many of each of three classes."""
    rng = np.random.default_rng(0)
    for name in "abc":
        folder = workspace.root / "raw/my_folder" / name
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")


def first_epoch(training: tuple[str, ...], output: str) -> int:
    """The epoch after which a training showed progress for the first time."""
    shown = re.search(rf"^{' '.join(training)}: (\d+)/{EPOCHS} ", output, re.MULTILINE)
    assert shown, output
    return int(shown[1])


def add_stage(root: Path, name: str, module: str) -> None:
    """Give a folder the project's code, and in it a stage of its own."""
    for room in ("tasks", "atcore"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / room, root / room, ignore=ignored, dirs_exist_ok=True)
    (root / "tasks" / f"{name}.py").write_text(module)


def stage_command(stage: str, *arguments: str) -> list[str]:
    return ["python", "-m", "tasks", stage, *arguments]


@dataclass(frozen=True)
class Pipeline:
    """A workspace after its first `dvc repro` (to be left as it is), and what that printed."""

    workspace: Workspace
    first: Finished
