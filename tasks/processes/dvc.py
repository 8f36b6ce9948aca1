"""The process of DVC whose stage this process is."""

import os
from contextlib import suppress
from pathlib import Path

# DVC sets it for the command of each stage.
_STAGE = "DVC_STAGE"


def _stage_of(process: int) -> str | None:
    variables = Path("/proc", str(process), "environ").read_bytes().split(b"\0")
    name = f"{_STAGE}=".encode()
    return next((v.removeprefix(name).decode() for v in variables if v.startswith(name)), None)


def _status(process: int) -> list[str]:
    """Fields of proc(5)'s stat, from the third on."""
    return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()


def started(process: int) -> str:
    """When a process has started: with its number, what no other process has."""
    return _status(process)[19]


def is_stage() -> bool:
    """Whether this process, or one that started it, is the command of a stage."""
    return _STAGE in os.environ


def running() -> int | None:
    """The process of DVC that runs this stage; None where there is none, or none any more.

    That is its nearest ancestor that is not of the stage, in whose process group the stage is.
    """
    stage, process = os.environ.get(_STAGE), os.getpid()
    if stage is None:
        return None
    with suppress(OSError):
        while _stage_of(process) == stage:
            process = int(_status(process)[1])
        return process if os.getpgid(process) == os.getpgrp() else None
    return None


def has_ended() -> bool:
    """Whether DVC has started this process, and does not run it any more."""
    return is_stage() and running() is None
