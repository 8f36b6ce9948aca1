"""A stage in a copy of a fork server, which has imported what stages need.

The copy, `main` here, is no child of the stage's process, but does as one: it has its files, folder
and environment, gets its Ctrl-C, and ends with it.
"""

import atexit
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import NoReturn

from tasks.cluster.fork_request import ask, connected, server
from tasks.processes.addresses import is_ours
from tasks.processes.child import Ended, forked, handled
from tasks.workspace.stage import work

_BYTES = 64
_IN_ORDER, _OUT_OF_ORDER = "in-order", "out-of-order"


def _end_of(copy: socket.socket) -> Ended | None:
    """How it has ended, with signals passed on to it until then; None if it has not begun."""
    answers = copy.makefile()
    group = answers.readline()
    if not group:
        return None

    def interrupt(*_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(int(group), signal.SIGINT)

    def terminate(*_: object) -> None:
        # The copy ends with this, and the connection with the copy.
        copy.shutdown(socket.SHUT_WR)
        while copy.recv(_BYTES):
            pass
        Ended(-signal.SIGTERM, in_order=False).follow()

    with handled({signal.SIGINT: interrupt, signal.SIGTERM: terminate}):
        how = answers.readline().split()
    status, in_order = how or (-signal.SIGKILL, _OUT_OF_ORDER)
    return Ended(int(status), in_order == _IN_ORDER)


def ended(environment: Mapping[str, str], words: Sequence[str]) -> Ended | None:
    """Let a stage run there; how it has ended, or None if there is no server that could do it.

    Args:
        environment: of the stage; `RAY_ADDRESS` in it says which cluster's server.
        words: name and arguments of the stage.
    """
    name = server(environment.get("RAY_ADDRESS", ""))
    ours, theirs = socket.socketpair()
    with ours:
        with theirs, suppress(OSError), connected(name) as connection:
            if is_ours(connection):
                ask(connection, __name__, words, environment=environment, also=[theirs.fileno()])
        return _end_of(ours)


def _work(stage: str, given: Sequence[str]) -> NoReturn:
    """Do it, and end without Python's clearing up, in which what is only imported complains."""
    status = os.EX_OK
    try:
        work(stage, given)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    Ended(status, in_order=True).follow()


def _say(connection: socket.socket, *words: object) -> None:
    # Who has asked may have ended.
    with suppress(OSError):
        connection.sendall(f"{' '.join(map(str, words))}\n".encode())


def main(stage: str, *words: str) -> None:
    # As Ray does in its workers; who has a workspace is known by what its process is called.
    from ray._raylet import setproctitle  # noqa: PLC0415

    # Python has made this when another file was there.
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    *given, descriptor = words
    setproctitle(" ".join(["python -m tasks", stage, *given]))
    os.setsid()
    with socket.socket(fileno=int(descriptor)) as connection:
        _say(connection, os.getpid())
        how = forked(connection)
        if how is not None:
            _say(connection, how.status, _IN_ORDER if how.in_order else _OUT_OF_ORDER)
            os._exit(os.EX_OK)
    _work(stage, given)


if __name__ == "__main__":
    main(*sys.argv[1:])
