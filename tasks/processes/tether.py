"""Commands that do not outlive whoever started them, however that one ends.

`python tether.py COMMAND ...` runs the command in a process group of its own. Once its standard
input closes, as it does when the starting process ends or is killed, or on SIGTERM or SIGINT, it
stops the command: SIGTERM to the command itself, which may have children to stop in order, then
SIGKILL to all that is left of the group, for whose end it waits.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# What a command has from SIGTERM to SIGKILL, in seconds.
GRACE = 5.0
_PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def tethered(
    command: list[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: int | IO[bytes] | None = None,
    keep: Collection[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command, and end it and all its children with the block.

    Args:
        output: where standard output and standard error go; None leaves them as they are.
        keep: descriptors that stay open until the command and all its children have ended.
    """
    with subprocess.Popen(
        [sys.executable, __file__, *command],
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=output,
        pass_fds=keep,
        stderr=None if output is None else subprocess.STDOUT,
        # Ctrl-C in a terminal reaches the starting process, whose block then ends.
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait()


def _stop(child: subprocess.Popen[bytes]) -> None:
    # From here on this process adopts the children of those of the group that end before them.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if child.poll() is None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-child.pid, 0)


def _told_to_stop(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def exit_on(*numbers: signal.Signals) -> None:
    """Let these signals end this process as SystemExit does, through its `finally` blocks."""
    for number in numbers:
        signal.signal(number, _told_to_stop)


def given_command(usage: str, *, ready: bool = True) -> list[str]:
    """The command among this process's arguments, which it is to start.

    Ends this process with one line where there is none, or nothing of that name, or `ready` is
    false: what else the usage names is missing.
    """
    command = sys.argv[1:]
    if not command or not ready:
        print(f"usage: {usage}", file=sys.stderr)
        sys.exit(2)
    if shutil.which(command[0]) is None:
        print(f"error: {command[0]}: no such command", file=sys.stderr)
        sys.exit(127)
    return command


def _signals() -> int:
    """Descriptor that becomes readable with the first SIGTERM or SIGINT to this process.

    Nothing else comes of them: an exception could lose a command that is being started or stopped.
    """
    told, telling = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(telling, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not SIG_IGN, which the command would inherit.
        signal.signal(number, lambda *_: None)
    return told


def main() -> int:
    told = _signals()
    with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True) as child:
        try:
            ended = os.pidfd_open(child.pid)
            # Nothing is ever written to the input: readable means closed.
            ready, _, _ = select.select([ended, sys.stdin, told], [], [])
            if ended not in ready:
                return 128 + signal.SIGTERM
            status = child.wait()
            return status if status >= 0 else 128 - status
        finally:
            _stop(child)


if __name__ == "__main__":
    sys.exit(main())
