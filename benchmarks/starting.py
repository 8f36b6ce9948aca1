"""What it takes to start a stage, and what the default run is made of.

    python -m benchmarks.starting [--rounds 5]

First, the whole of `variants` on the `shapes` of a tiny dataset, from the start of its process to
its end, where there is next to nothing to compute: on a new cluster (cold), on one that has run it
before (warm), and by `dvc repro` with a cluster of its own. Then the run of `make repro` in a fresh
clone of the last commit and once more with nothing to do: seconds of every stage's process, and
what DVC takes beside them. Prints medians [minimum, maximum]. Writes nothing but temporary files.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from tasks.cluster.local import LocalCluster

PROJECT = Path(__file__).parents[1]
_STAGE = ("variants", "shapes", "saturated")
_SECONDS_BETWEEN_LOOKS = 0.05


def _seconds(root: Path, command: Sequence[str], environment: Mapping[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=root, env=os.environ | environment, capture_output=True, check=True)
    return time.perf_counter() - started


def _clone(folder: Path) -> Path:
    root = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(root)], check=True)
    return root


def _with_few_images(root: Path) -> None:
    file = root / "params.yaml"
    document = yaml.safe_load(file.read_text())
    document["dataset"]["shapes"]["images"] = {"train": 16, "validation": 8, "test": 8}
    file.write_text(yaml.safe_dump(document))


def _starts(rounds: int) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "tasks", *_STAGE]
    dvc = ["dvc", "repro", "--single-item", "--force", f"{_STAGE[0]}@{'-'.join(_STAGE[1:])}"]
    found: dict[str, list[float]] = {"cold": [], "warm": [], "dvc": []}
    with tempfile.TemporaryDirectory() as folder:
        root = _clone(Path(folder))
        _with_few_images(root)
        _seconds(root, ["dvc", "repro", f"prepare@{_STAGE[1]}"], {})
        for _ in range(rounds):
            with LocalCluster() as cluster:
                environment = cluster.environment()
                found["cold"].append(_seconds(root, command, environment))
                found["warm"].append(_seconds(root, command, environment))
            found["dvc"].append(_seconds(root, dvc, {}))
    return found


def _module(process: str) -> str:
    """What a process runs by `python -m`, with its arguments."""
    words = Path("/proc", process, "cmdline").read_bytes().decode().split("\0")
    return " ".join(words[words.index("-m") + 1 :]).strip() if "-m" in words else ""


def _stages(dvc: subprocess.Popen[bytes]) -> dict[str, float]:
    """Seconds of every stage that a DVC process runs, until it ends."""
    since: dict[str, tuple[str, float]] = {}
    found: dict[str, float] = {}
    # Read where the kernel has it: a search through all processes would slow the run down.
    children = Path("/proc", str(dvc.pid), "task", str(dvc.pid), "children")
    while dvc.poll() is None:
        now, living = time.perf_counter(), set()
        with suppress(OSError):
            living = set(children.read_text().split())
        for process in living:
            with suppress(OSError):
                if module := _module(process):
                    since.setdefault(process, (module, now))
        for process in since.keys() - living:
            module, began = since.pop(process)
            found[module.removeprefix("tasks ")] = now - began
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return found


def _default_run() -> tuple[dict[str, float], float, float]:
    """Seconds of every stage, of the whole run, and of a second one."""
    with tempfile.TemporaryDirectory() as folder:
        root = _clone(Path(folder))
        commands = [
            [sys.executable, "-m", "tasks.cost.here"],
            ["dvc", "repro"],
            [sys.executable, "-m", "tasks.tools.show"],
        ]
        started = time.perf_counter()
        _seconds(root, commands[0], {})
        run = subprocess.Popen(commands[1], cwd=root, stdout=subprocess.DEVNULL)
        stages = _stages(run)
        if run.wait():
            raise RuntimeError("dvc repro failed")
        _seconds(root, commands[2], {})
        whole = time.perf_counter() - started
        again = sum(_seconds(root, command, {}) for command in commands)
    return stages, whole, again


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"| `{' '.join(_STAGE)}` of 8 images | seconds, {options.rounds} rounds |")
    print("|---|---|")
    names = {
        "cold": "on a cluster that has just started",
        "warm": "on a cluster that has run it before",
        "dvc": "`dvc repro` with a cluster of its own",
    }
    for name, seconds in _starts(options.rounds).items():
        spread = f"{statistics.median(seconds):.2f} [{min(seconds):.2f}, {max(seconds):.2f}]"
        print(f"| {names[name]} | {spread} |")
    stages, whole, again = _default_run()
    print("\n| default run | seconds |\n|---|---|")
    for name, took in stages.items():
        print(f"| {name} | {took:.1f} |")
    print(f"| DVC, parameters, and the table at the end | {whole - sum(stages.values()):.1f} |")
    print(f"| **the whole** | **{whole:.0f}** |")
    print(f"| once more, nothing to do | {again:.1f} |")


if __name__ == "__main__":
    main()
