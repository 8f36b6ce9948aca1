"""Stages hand out work and run without torch, whose import takes longer than all of theirs."""

import subprocess
import sys

_IMPORT = """
import importlib, sys
for stage in sys.argv[1:]:
    importlib.import_module(f"tasks.{stage}")
    assert "torch" not in sys.modules, stage
"""


def test_torch_is_left_to_those_who_compute() -> None:
    stages = (
        "selection",
        "prepare",
        "train",
        "network",
        "stylizer",
        "variants",
        "quality",
        "evaluate",
        "salience",
        "report",
    )
    subprocess.run([sys.executable, "-c", _IMPORT, *stages], check=True)
