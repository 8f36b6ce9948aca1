"""Waiting that whoever waits is told of."""

import sys
import time
from collections.abc import Callable
from threading import Event

_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_FIRST_LINE = 5
_SECONDS_BETWEEN_LINES = 30


def on_stderr(line: str) -> None:
    """Show a line beside the output of a command."""
    print(line, file=sys.stderr, flush=True)


def wait_for(
    what: str,
    there: Callable[[], bool],
    *,
    seconds: int,
    say: Callable[[str], None] = on_stderr,
    stop: Event | None = None,
) -> bool:
    """Wait until something is there; whether it is after so many seconds.

    Args:
        what: as in "waiting for ...".
        say: gets a line where it takes long, then now and then, and once it is there.
        stop: ends the waiting when it is set.
    """
    stop = stop or Event()
    since, next_line = time.monotonic(), _SECONDS_TO_FIRST_LINE
    while not there():
        waited = int(time.monotonic() - since)
        if waited >= seconds or stop.wait(_SECONDS_BETWEEN_LOOKS):
            return False
        if waited >= next_line:
            say(f"waiting for {what}: {waited} s of at most {seconds} s")
            next_line += _SECONDS_BETWEEN_LINES
    if next_line > _SECONDS_TO_FIRST_LINE:
        say(f"waited {int(time.monotonic() - since)} s for {what}")
    return True
