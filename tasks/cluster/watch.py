"""A quick end for a stage whose cluster is gone.

Ray's client waits for a lost part of its cluster, for a minute or for ever, and ends in lines for
its developers.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread

from tasks.processes.addresses import answers

_SECONDS_BETWEEN_PROBES = 0.5


def _watch(patience: Mapping[str, float], over: Event) -> None:
    answered = dict.fromkeys(patience, time.monotonic())
    while not over.wait(_SECONDS_BETWEEN_PROBES):
        for address, seconds in patience.items():
            if answers(address):
                answered[address] = time.monotonic()
            elif time.monotonic() - answered[address] > seconds:
                sys.stdout.flush()
                message = f"the Ray cluster of this run was lost: nothing answers at {address}"
                print(f"error: {message}", file=sys.stderr, flush=True)
                # Not an exception: the main thread may wait in Ray, which does not return.
                os._exit(os.EX_TEMPFAIL)


@contextmanager
def watched(patience: Mapping[str, float]) -> Iterator[None]:
    """End this process if a part of its cluster is lost within the block.

    It then ends in one line on standard error and with status EX_TEMPFAIL, and leaves what a kill
    leaves.

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
