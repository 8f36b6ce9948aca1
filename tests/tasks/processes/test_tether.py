"""Commands that do not outlive whoever started them."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from pipeline_workspace import wait_until

from tasks.processes.tether import tethered

# Each has so much memory that the system needs a while to end it.
_FAMILY = """
import os, signal, sys
{before}
memory = bytearray(1 << 28)
for place in range(0, len(memory), 4096):
    memory[place] = 1
if os.fork():
    os.fork()
with open(sys.argv[1], "a") as file:
    file.write(f"{{os.getpid()}}\\n")
signal.pause()
"""
_STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def _members(file: Path) -> list[int]:
    """The numbers of those that have told theirs."""
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("before", ["", _STUBBORN], ids=["on SIGTERM", "on SIGKILL"])
def test_a_command_and_its_children_have_ended_when_the_block_has(
    before: str, tmp_path: Path
) -> None:
    file = tmp_path / "members"
    command = [sys.executable, "-c", _FAMILY.format(before=before), str(file)]
    with tethered(command):
        wait_until(lambda: len(_members(file)) == 3, "the command and its two children")
    assert [number for number in _members(file) if psutil.pid_exists(number)] == []


def test_a_second_signal_while_it_is_stopped_does_not_save_a_command(tmp_path: Path) -> None:
    file, told = tmp_path / "members", tmp_path / "told"
    stubborn = f"signal.signal(signal.SIGTERM, lambda *_: open({str(told)!r}, 'w').close())"
    # It waits again after the signal.
    family = _FAMILY.format(before=stubborn) + "signal.pause()\n" * 9
    with tethered([sys.executable, "-c", family, str(file)]) as tether:
        wait_until(lambda: len(_members(file)) == 3, "the command and its two children")
        tether.terminate()
        wait_until(told.exists, "its first SIGTERM")
        tether.terminate()
        wait_until(lambda: tether.poll() is not None, "the end of the tether")
        assert [number for number in _members(file) if psutil.pid_exists(number)] == []


def test_a_signal_while_it_is_started_does_not_leave_a_command() -> None:
    # So many places to look for the command in that its start takes a while.
    places = {"PATH": ":" * 100_000 + os.environ["PATH"]}
    with tethered(["sleep", "600"], env=os.environ | places) as tether:
        children = psutil.Process(tether.pid).children
        (command,) = wait_until(children, "the command")
        tether.send_signal(signal.SIGTERM)
        wait_until(lambda: tether.poll() is not None, "the end of the tether")
        assert not command.is_running()
