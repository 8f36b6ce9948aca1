"""Programs in the background that others wait for: Ray, Prefect's server."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryFile
from threading import Event
from typing import IO

from tasks.processes.patience import on_stderr, wait_for
from tasks.processes.tether import tethered

# What takes seconds takes minutes where other work has the processors.
_MOST_SECONDS = 600


class NotStartedError(Exception):
    """A program did not start; the message is one line."""


def _written(output: IO[bytes]) -> str:
    # Not `read`, which would move the place at which the program writes.
    return os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0).decode(errors="replace")


def _last_line(text: str) -> str:
    return next(filter(None, map(str.strip, reversed(text.splitlines()))), "without a word")


@contextmanager
def service(
    name: str,
    command: list[str],
    *,
    env: Mapping[str, str],
    ready: Callable[[str], bool],
    again: Callable[[str], bool] = lambda _: False,
    say: Callable[[str], None] = on_stderr,
    stop: Event | None = None,
    log: Path | None = None,
) -> Iterator[Popen[bytes]]:
    """A program that ends with the block, which begins once the program is ready.

    Args:
        ready: tells by what it has written, or otherwise, whether it is.
        again: tells by what it has written whether one that ended is worth another try.
        say: gets lines where the start takes long.
        stop: ends the waiting when it is set.
        log: file for what it writes; otherwise nothing is left of that, however this process ends.

    Raises:
        NotStartedError: it ended, or was not ready after some minutes.
    """
    with (
        TemporaryFile(buffering=0) if log is None else log.open("w+b", buffering=0) as output,
        ExitStack() as stack,
    ):
        program = stack.enter_context(tethered(command, env=env, output=output))

        def up() -> bool:
            nonlocal program
            ended, written = program.poll() is not None, _written(output)
            if not ended:
                return ready(written)
            if not again(written):
                raise NotStartedError(f"{name} has not started: {_last_line(written)}")
            stack.close()
            output.seek(0)
            output.truncate()
            program = stack.enter_context(tethered(command, env=env, output=output))
            return False

        if not wait_for(f"{name} to start", up, seconds=_MOST_SECONDS, say=say, stop=stop):
            if stop is not None and stop.is_set():
                raise NotStartedError(f"{name} is not needed any more")
            last = _last_line(_written(output))
            raise NotStartedError(f"{name} has not started within {_MOST_SECONDS} s: {last}")
        yield program
