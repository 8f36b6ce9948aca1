"""Every command explains itself."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
COMMANDS = [
    f"tasks.{name}"
    for name in (
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
        "cost",
        "cost.here",
        "params",
        "tools.download",
        "tools.encoder",
        "tools.export",
        "tools.show",
    )
]


@pytest.mark.parametrize(
    ("command", "flag"), [*((command, "--help") for command in COMMANDS), (COMMANDS[0], "-h")]
)
def test_help_says_how_a_command_is_called_and_what_it_does(command: str, flag: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", command, flag],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    usage, empty, *text = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr, empty) == (0, "", "")
    assert usage.startswith(f"usage: python -m {command}")
    assert text[0]
