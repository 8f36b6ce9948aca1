"""Work in a child, of whose end the parent has something to say that the child no longer can."""

import atexit
import ctypes
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

_PR_SET_PDEATHSIG = 1

Handler = Callable[..., None] | signal.Handlers


@dataclass(frozen=True)
class Ended:
    """How a child has ended.

    Attributes:
        status: of its exit; negative, the signal that has ended it.
        in_order: whether Python came to its end, with an exception or without.
    """

    status: int
    in_order: bool

    def follow(self) -> NoReturn:
        """End this process in the same way."""
        if self.status < 0:
            with suppress(OSError):  # As SIGKILL cannot be set.
                signal.signal(-self.status, signal.SIG_DFL)
            signal.raise_signal(-self.status)
        os._exit(abs(self.status))


def _live_no_longer_than(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It has ended before that.
        os._exit(1)


@contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Let this process handle signals in these ways for the time of the block."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _waited(child: int, leash: socket.socket | None) -> int:
    if leash is not None:
        ended = os.pidfd_open(child)
        ready, _, _ = select.select([ended, leash.fileno()], [], [])
        os.close(ended)
        if ended not in ready:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def forked(leash: socket.socket | None = None) -> Ended | None:
    """Go on in a child, which does not outlive this process, and in this one after the child's end.

    Args:
        leash: a connection over which nothing comes, and whose end is the child's.

    Returns:
        None in the child, how that has ended in the parent.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    ended, ending = os.pipe()
    child = os.fork()
    if child == 0:
        _live_no_longer_than(parent)
        os.close(ended)
        # What is registered first is called last.
        atexit.register(os.write, ending, b".")
        return None
    os.close(ending)
    # Ctrl-C in a terminal reaches the child too, which says what becomes of it.
    with handled({signal.SIGINT: signal.SIG_IGN}):
        status = _waited(child, leash)
    with os.fdopen(ended, "rb") as pipe:
        return Ended(status, in_order=bool(pipe.read()))
