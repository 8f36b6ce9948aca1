"""A quick end for a stage whose cluster is gone.

Where Ray does not end its client at once, it lets it wait for the lost part of the cluster, for a
minute or for ever, and end in lines for Ray's developers.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import NoReturn

from tasks.processes.addresses import answers

_SECONDS_BETWEEN_PROBES = 0.5


def end() -> NoReturn:
    """End this process as Ray does where it notices, whatever its threads wait for."""
    sys.stdout.flush()
    os._exit(os.EX_TEMPFAIL)


def _watch(patience: Mapping[str, float], over: Event) -> None:
    answered = dict.fromkeys(patience, time.monotonic())
    while not over.wait(_SECONDS_BETWEEN_PROBES):
        for address, seconds in patience.items():
            if answers(address):
                answered[address] = time.monotonic()
            elif time.monotonic() - answered[address] > seconds:
                end()


@contextmanager
def watched(patience: Mapping[str, float]) -> Iterator[None]:
    """End this process if a part of its cluster is lost within the block.

    Args:
        patience: for how many seconds each address of the cluster may be silent.
    """
    over = Event()
    watcher = Thread(target=_watch, args=(patience, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
