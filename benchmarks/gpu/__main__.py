"""`python -m benchmarks.gpu OUT --data CIFAR10 [--minutes 8]`: what one GPU makes of CIFAR-10.

Measures speed, then trains `standard`, `pgd_linf_8` and, while time is left, `pgd_l2_8` and
`fgsm_8`, asks each everything on all test images, and leaves OUT as a workspace: `python -m
tasks report` in OUT makes the page, there or on another machine (with the project's folder in
PYTHONPATH). `figures.json` has what was measured. May be stopped at any moment; started again with
the same OUT it goes on.

Needs atcore with torch, pyarrow, numpy, Pillow, safetensors and PyYAML, and the two Parquet files
of CIFAR-10 (columns `img` and `label`) in the folder CIFAR10; no network. foolbox, torchattacks and
captum are taken where they are installed.
"""

import argparse
import json
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from atcore.base.errors import UserError
from atcore.base.files import write_text
from benchmarks.gpu import networks, speed
from benchmarks.gpu.settings import DATASET, METHODS, Size, settings, training_spec
from benchmarks.gpu.workspace import Variants, prepare

# Seconds that a network takes to be asked everything, at most, on a GPU.
_ASKING = 25.0


class Report:
    """Lines on the screen with the time, and figures in OUT/figures.json."""

    def __init__(self, out: Path) -> None:
        self.started = time.monotonic()
        self._file = out / "figures.json"
        self.figures: dict[str, Any] = {}
        if self._file.exists():
            self.figures = json.loads(self._file.read_text("utf-8"))

    def line(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:7.1f} s  {text}", flush=True)

    def figure(self, name: str, values: Any) -> None:
        self.figures[name] = values
        write_text(self._file, json.dumps(self.figures, indent=2) + "\n")
        self.line(f"{name}: {json.dumps(values)}")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("torch", "torchattacks", "foolbox"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _finished(out: Path) -> list[str]:
    """Methods of which everything is there that the report needs."""
    return [m for m in METHODS if (out / "salience" / DATASET / m / "0").exists()]


def _network(
    out: Path, params: dict[str, Any], method: str, variants: Variants, report: Report, end: float
) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not (out / "models" / DATASET / method / "0").exists():
        spent = networks.train_network(out, params, method, device, end - _ASKING, report.line)
        report.figure(f"{method}, seconds of each epoch with validation", spent)
    variants.write()
    started = time.monotonic()
    accuracies = networks.evaluate(out, params, method, variants, device)
    report.figure(f"{method}, accuracy on test images", accuracies)
    report.figure(f"{method}, seconds of evaluation", time.monotonic() - started)
    started = time.monotonic()
    networks.show(out, params, method, variants, device)
    report.figure(f"{method}, seconds of salience", time.monotonic() - started)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, metavar="CIFAR10")
    parser.add_argument("--minutes", type=float, default=8.0)
    small = Size()
    parser.add_argument("--epochs", type=int, default=small.epochs)
    parser.add_argument("--images", type=int, help="of training and of test; all unless given")
    parser.add_argument("--validation", type=int, default=small.validation)
    parser.add_argument("--architecture", default=small.architecture)
    parser.add_argument("--attack-steps", type=int, default=small.attack_steps)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    return parser.parse_args()


def run(
    out: Path, source: Path, size: Size, methods: Sequence[str], end: float, report: Report
) -> None:
    """Everything, one network after the other, until `time.monotonic` is `end`."""
    params = settings(size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()
    report.figure("device", {"name": name, "cpus": os.cpu_count()} | _versions())
    # Not forked, as the processes of a fork share the state of CUDA.
    context = multiprocessing.get_context("spawn")
    workers = max(1, (os.cpu_count() or 2) - 1)
    # Of Ctrl-C, which reaches all processes, this one says a word.
    silent = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, context, signal.signal, silent) as pool:
        prepare(source, out, params, pool)
        report.line("images prepared")
        model = networks.model_spec(out, params)
        speed.measure(training_spec(params, "pgd_linf_8"), model, device, report.figure)
        # Afterwards, so that the CPUs have nothing else to do while speed is measured.
        variants = Variants(out, params, pool)
        try:
            for method in methods:
                if method not in _finished(out):
                    _network(out, params, method, variants, report, end)
                finished = _finished(out)
                params["run"]["methods"] = finished
                write_text(out / "params.yaml", yaml.safe_dump(params, sort_keys=False))
        except networks.OutOfTimeError as reason:
            report.line(f"no time left: {reason}")
        finally:
            pool.shutdown(cancel_futures=True)


def main() -> None:
    asked = _arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    report = Report(asked.out)
    size = Size(
        asked.epochs, asked.images, asked.validation, asked.architecture, asked.attack_steps
    )
    try:
        end = report.started + 60 * asked.minutes
        run(asked.out, asked.data, size, asked.methods, end, report)
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; run again to go on")
    report.line(f"done: {', '.join(_finished(asked.out)) or 'no network'}")


if __name__ == "__main__":
    main()
