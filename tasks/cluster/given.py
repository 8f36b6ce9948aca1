"""A Ray cluster that somebody else runs."""

from collections.abc import Callable

from tasks.processes.addresses import answers
from tasks.processes.patience import on_stderr, wait_for

_SECONDS = 120


class ClusterGoneError(Exception):
    """The cluster of RAY_ADDRESS is not there; the message is one line."""


def wait_for_cluster(address: str, say: Callable[[str], None] = on_stderr) -> None:
    """Wait until the cluster answers at its address, at once or after it was lost.

    Args:
        say: gets lines where that takes long.

    Raises:
        ClusterGoneError: it did not for some minutes, or is no such address.
    """
    what = f"the Ray cluster at {address}"
    try:
        there = wait_for(what, lambda: answers(address), seconds=_SECONDS, say=say)
    except ValueError as error:
        raise ClusterGoneError(f"RAY_ADDRESS: {error}") from error
    if not there:
        raise ClusterGoneError(f"RAY_ADDRESS: {what} has not answered for {_SECONDS} s")
