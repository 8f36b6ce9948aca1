"""A quick end for a stage whose cluster is gone.

Ray's client waits for a lost part of its cluster, for a minute or for ever, and ends in lines for
its developers.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread

from tasks.processes.addresses import answers

_SECONDS_BETWEEN_PROBES = 0.5


def _watch(patience: Mapping[str, float], lost: Callable[[str], None], over: Event) -> None:
    answered = dict.fromkeys(patience, time.monotonic())
    while not over.wait(_SECONDS_BETWEEN_PROBES):
        for address, seconds in patience.items():
            if answers(address):
                answered[address] = time.monotonic()
            elif time.monotonic() - answered[address] > seconds:
                lost(address)


@contextmanager
def watched(patience: Mapping[str, float], lost: Callable[[str], None]) -> Iterator[None]:
    """Notice within the block that a part of its cluster is lost.

    Args:
        patience: for how many seconds each address of the cluster may be silent.
        lost: is called with the address in a thread, and is to end this process: the main thread
            may wait in Ray, which does not return.
    """
    over = Event()
    watcher = Thread(target=_watch, args=(patience, lost, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
