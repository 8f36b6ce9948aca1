"""The program that is run where there is a GPU, rehearsed on a CPU with little of everything."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu.settings import DATASET, METHODS, Size, settings, training_spec
from tasks import params
from tasks.train import training_spec as training_spec_of_the_pipeline

pytestmark = pytest.mark.long
PROJECT = Path(__file__).parents[2]
SMALL = (
    *("--images", "60", "--validation", "40", "--epochs", "2", "--attack-steps", "2"),
    *("--architecture", "small", "--methods", "pgd_linf_8"),
)


def start(*command: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_it_goes_on_after_a_kill_and_leaves_what_the_report_needs(
    tmp_path: Path, real_data: Path
) -> None:
    command = ("benchmarks.gpu", ".", "--data", str(real_data / "cifar10"), *SMALL)
    first = start(*command, cwd=tmp_path)
    assert first.stdout is not None
    for line in first.stdout:
        if "pgd_linf_8: epoch 1 of 2" in line:
            break
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    output, _ = start(*command, cwd=tmp_path).communicate()
    assert "epoch 1 of 2" not in output
    assert "epoch 2 of 2" in output
    assert output.rstrip().endswith("done: pgd_linf_8")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["matrix product, FLOP/s"]["median"] > 0
    assert figures["training step with PGD-2 on batches of 128, images/s"]["ours"]["n"] == 5
    report, _ = start("tasks", "report", cwd=tmp_path).communicate()
    assert report.rstrip().endswith("reports/index.html")
    summary = json.loads((tmp_path / "reports" / "summary.json").read_text())
    assert {record["variant"] for record in summary} > {"clean", "pgd_linf", "stylized"}


@pytest.mark.parametrize("method", METHODS)
def test_it_trains_as_the_pipeline_does(method: str) -> None:
    ours = training_spec(settings(Size()), method)
    known = training_spec_of_the_pipeline(params.load(PROJECT / "params.yaml"), DATASET, method, 0)
    assert ours == replace(known, epochs=ours.epochs)
