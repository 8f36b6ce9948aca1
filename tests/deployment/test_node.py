"""`python -m tasks.cluster.node COMMAND`: a node of a cluster for the time of the command."""

import subprocess
import sys

import pytest

NODE = [sys.executable, "-m", "tasks.cluster.node"]


def node(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NODE, *command], capture_output=True, text=True, check=False)


def test_it_needs_a_command_and_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for command in ([], ["true"]):
        refused = node(*command)
        assert refused.returncode == 2
        assert refused.stderr.startswith(
            "usage: RAY_ADDRESS=HOST:PORT python -m tasks.cluster.node"
        )


def test_it_names_a_command_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    refused = node("no-such-command")
    assert refused.returncode == 127
    assert refused.stderr == "error: no-such-command: no such command\n"
