"""Every command explains itself."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
STAGES = sorted(path.stem for path in (PROJECT / "tasks").glob("[!_]*.py"))
COMMANDS = [
    "tasks",
    *(f"tasks {name}" for name in STAGES),
    "tasks.cost",
    "tasks.cost.here",
    "tasks.params",
    "tasks.tools.download",
    "tasks.tools.encoder",
    "tasks.tools.export",
    "tasks.tools.raw",
    "tasks.tools.show",
]


def called(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command.split(), *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "flag"), [*((command, "--help") for command in COMMANDS), (COMMANDS[0], "-h")]
)
def test_help_says_how_a_command_is_called_and_what_it_does(command: str, flag: str) -> None:
    ended = called(command, flag)
    usage, empty, *text = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr, empty) == (0, "", "")
    assert usage.startswith(f"usage: python -m {command}")
    assert text[0]


@pytest.mark.parametrize("wrong", [(), ("nope",), ("cluster",), ("variants", "shapes")])
def test_a_wrong_call_of_a_stage_ends_in_its_usage(wrong: tuple[str, ...]) -> None:
    ended = called("tasks", *wrong)
    assert (ended.returncode, ended.stdout) == (2, "")
    usage, *others = ended.stderr.splitlines()
    if wrong[:1] == ("variants",):
        assert (usage, others) == ("usage: python -m tasks variants DATASET VARIANT", [])
    else:
        assert usage == "usage: python -m tasks STAGE [NAME ...]"
        assert others[-1] == f"STAGE is {', '.join(STAGES)}."
