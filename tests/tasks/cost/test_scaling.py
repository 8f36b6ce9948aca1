"""The benchmark of how cost grows: its laws, and the whole of it with little of everything."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scaling import METHODS, Line, power

PROJECT = Path(__file__).parents[3]


def test_a_line_is_that_of_the_textbook() -> None:
    x, y = [1.0, 3.0, 7.0], [[2.0, 2.5], [4.0, 4.5], [9.0, 8.0]]
    found = Line.through(x, y)
    flat = np.repeat(x, 2), np.ravel(y)
    (slope, start), covariance = np.polyfit(*flat, 1, cov=True)
    errors = np.sqrt(np.diag(covariance))
    assert (found.slope, found.start, found.n) == pytest.approx((slope, start, 6))
    assert (found.slope_error, found.start_error) == pytest.approx(tuple(errors))


def test_the_exponent_of_a_power_is_found() -> None:
    sides = [32, 64, 128, 224]
    found = power(sides, [[3 * side**1.7] * 2 for side in sides])
    assert (found.slope, found.n) == (pytest.approx(1.7), 8)
    assert found.slope_error == pytest.approx(0, abs=1e-6)


@pytest.mark.long
def test_the_program_prints_every_table_and_law() -> None:
    small = ("--architectures", "small", "--sides", "8", "16", "--steps", "1", "2")
    little = ("--counts", "0", "1", "--images", "4", "--batch", "2", "--rounds", "2")
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", *small, *little],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    headings = re.findall(r"^\| (.*?) \| ms per image \|", ended.stdout, re.MULTILINE)
    assert len(headings) == 6
    for name in (*METHODS, "saturated 1024"):
        assert f"| {name} |" in ended.stdout
    # Measured, and what was said of it.
    assert re.search(r"^\| 16 \| [\d.e+]+ \[.*?\] \| [\d.]+ \[.*?\] \| \d+ \|", ended.stdout, re.M)
    assert ended.stdout.count("to the power of") == 2
