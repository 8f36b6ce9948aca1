"""The flow against sequential `dvc repro` and paraffin, and what the flow itself costs.

    python -m benchmarks.flow [--rounds 3] [--paraffin PATH] ...

Starts a Prefect server and a Ray cluster, then measures, round by round, every contestant in turn:

- 8 independent stages of 10 s, at most 8 at once. Times are of whole commands, from start to exit;
  for the flow also from the call of `reproduce` in a process that has imported it, which is what a
  served deployment adds to its start.
- the cost of a stage that the run cache restores.
- planning and doing nothing, on graphs of 100 and 500 stages, beside `dvc status`.
- the project's own graph: from the start of the process to the first stage's command.

Prints each figure with its minimum and maximum. Writes nothing but temporary files.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from flows.server import prefect_server
from tasks.cluster.local import LocalCluster

PROJECT = Path(__file__).parents[1]
STAGES, SECONDS = 8, 10
Stages = Mapping[str, Mapping[str, Any]]


def _run(root: Path, *command: str) -> tuple[float, str]:
    """Seconds that a command takes in `root`, and its output."""
    started = time.perf_counter()
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ended.stdout}{ended.stderr}")
    return seconds, ended.stdout


def repository(root: Path, stages: Stages) -> Path:
    """A DVC repository with nothing computed yet."""
    root.mkdir()
    shutil.copy(PROJECT / "params.yaml", root)
    (root / "input.txt").write_text("input\n")
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": dict(stages)}))
    _run(root, "git", "init", "--quiet")
    _run(root, "dvc", "init", "--quiet")
    # paraffin needs a commit.
    author = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.com")
    _run(root, "git", "add", "--all")
    _run(root, "git", *author, "commit", "--quiet", "--message", "Begin")
    return root


def independent(count: int, command: str) -> Stages:
    return {
        f"stage{i}": {
            "cmd": f"{command} && echo {i} > out{i}",
            "deps": ["input.txt"],
            "outs": [f"out{i}"],
        }
        for i in range(count)
    }


def flow(root: Path, ends: str = "COMPLETED", **arguments: Any) -> tuple[float, float, float]:
    """Seconds of the whole command, of the flow's call and of planning alone, afterwards."""
    command = (sys.executable, "-m", "benchmarks.flow_call", json.dumps(arguments))
    seconds, output = _run(root, *command)
    line = next(x for x in output.splitlines() if x.startswith("MEASURED "))
    _, ended, called, planned = line.split()
    if ended != ends:
        raise RuntimeError(f"the flow in {root} ended as {ended}: {output}")
    # The planning afterwards is not part of the command.
    return seconds - float(planned), float(called), float(planned)


def paraffin(executable: str, root: Path, jobs: int) -> float:
    """Seconds from submitting to the end of a worker that has nothing left to do."""
    started = time.perf_counter()
    _run(root, executable, "submit")
    _run(root, executable, "worker", "--jobs", str(jobs), "--timeout", "1")
    return time.perf_counter() - started


def show(label: str, values: list[float], unit: str = "s", scale: float = 1.0) -> None:
    shown = [scale * value for value in values]
    spread = f"[{min(shown):.2f}, {max(shown):.2f}]"
    print(f"{label:62s} {median(shown):8.2f} {spread:>18s} {unit}, n = {len(shown)}", flush=True)


def parallel(folder: Path, options: argparse.Namespace) -> None:
    stages = independent(STAGES, f"sleep {SECONDS}")
    contestants: dict[str, Callable[[Path], float]] = {
        "dvc repro": lambda root: _run(root, "dvc", "repro")[0],
    }
    if options.paraffin:
        contestants["paraffin"] = lambda root: paraffin(options.paraffin, root, STAGES)
    called: list[float] = []

    def ours(root: Path) -> float:
        whole, call, _ = flow(root, jobs=STAGES)
        called.append(call)
        return whole

    contestants["flow, whole command"] = ours
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(options.rounds):
        for index, (name, run) in enumerate(contestants.items()):
            root = repository(folder / f"parallel{number}-{index}", stages)
            times[name].append(run(root))
            # A command that gives up early may still exit with 0.
            if missing := [
                out for out in (f"out{i}" for i in range(STAGES)) if not (root / out).exists()
            ]:
                raise RuntimeError(f"{name} did not write {missing}")
    times["flow, call"] = called
    for name, values in times.items():
        show(
            f"{STAGES} stages of {SECONDS} s, 8 at once, of the ideal: {name}",
            values,
            "",
            1 / SECONDS,
        )


def cached(folder: Path, options: argparse.Namespace) -> None:
    """Stages whose outputs and lock entries are gone, but known to the run cache."""
    count = 50
    root = repository(folder / "cached", independent(count, "true"))
    flow(root, jobs=2)
    empty = flow(root)[1]
    values = []
    for _ in range(options.rounds):
        (root / "dvc.lock").unlink()
        for i in range(count):
            (root / f"out{i}").unlink()
        values.append((flow(root, jobs=2)[1] - empty) / count)
    show("a stage restored from the run cache", values, "ms", 1000)


def large(folder: Path, options: argparse.Namespace) -> None:
    for count in (100, 500):
        root = repository(folder / f"large{count}", independent(count, "true"))
        flow(root, jobs=4)
        runs = [flow(root) for _ in range(options.rounds)]
        show(f"{count} stages, nothing stale: planning", [planned for _, _, planned in runs])
        show(f"{count} stages, nothing stale: flow, call", [called for _, called, _ in runs])
        show(f"{count} stages, nothing stale: flow, whole command", [whole for whole, _, _ in runs])
        status = [_run(root, "dvc", "status")[0] for _ in range(options.rounds)]
        show(f"{count} stages, nothing stale: dvc status", status)


def first_stage(folder: Path, options: argparse.Namespace) -> None:
    """The project's graph with another command in front, which notes when it starts."""
    values = []
    for number in range(options.rounds):
        root = folder / f"own{number}"
        listed = _run(PROJECT, "git", "ls-files")[1].splitlines()
        for name in (n for n in listed if n != "dvc.lock" and not n.startswith("tests/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, root / name)
        _run(root, "git", "init", "--quiet")
        text = (root / "dvc.yaml").read_text()
        note = "date +%s.%N > started; exit 1; python -m tasks prepare"
        (root / "dvc.yaml").write_text(text.replace("python -m tasks prepare", note))
        started = time.time()
        flow(root, ends="FAILED")
        values.append(float((root / "started").read_text()) - started)
    show("default graph: from the start of the process to the first stage", values)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--paraffin", help="its executable (0.3.7 needs sqlmodel < 0.0.25)")
    parts = {"parallel": parallel, "cached": cached, "large": large, "first_stage": first_stage}
    parser.add_argument("parts", nargs="*", default=list(parts), help=", ".join(parts))
    options = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("prefect", "dvc", "ray"))
    print(f"{os.cpu_count()} CPUs, {platform.machine()}, {versions}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "prefect").mkdir()
        url = stack.enter_context(prefect_server(folder / "prefect"))
        os.environ["PREFECT_API_URL"] = f"{url}/api"
        os.environ.update(stack.enter_context(LocalCluster()).environment())
        os.environ["PYTHONPATH"] = str(PROJECT)
        os.environ["DVC_NO_ANALYTICS"] = "1"
        for part in options.parts:
            parts[part](folder, options)


if __name__ == "__main__":
    main()
