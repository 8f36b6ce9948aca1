"""One holder of a workspace at a time.

Whoever may change `dvc.lock` or outputs takes the workspace first: a flow run or `make repro` for
itself (`held`), a stage that is run by hand or by plain `dvc repro` together with other such stages
(`shared`). A lock of the operating system is what decides; it falls with the last process of the
holder. What lies in the file says whose it is, and stays there if the holder was killed.

`python -m tasks.processes.holder COMMAND ...` holds the workspace in this folder for a command.
"""

import fcntl
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from tasks.processes import disk, torn
from tasks.processes.tether import GRACE, exit_on, given_command, tethered

_FILE = Path(".dvc", "tmp", "holder.json")
# Names the file of a holder's own parameters to its stages.
PARAMETERS = "ATCNN_PARAMS"
# Tells them that the workspace is held for them.
_MINE = "ATCNN_HOLDER"
# How long the processes of a holder that was killed may take to end.
_ENDING_SECONDS = 6 * GRACE
_SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True)
class Holder:
    """Who holds a workspace.

    Attributes:
        name: the flow run or command, as people know it.
        process: its number on the machine that it runs on.
        since: local time, to the second.
        flow_run: its id in Prefect, of a flow run.
        key: tells it from every other holder.
    """

    name: str
    process: int
    since: str
    flow_run: str | None
    key: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.process}, since {self.since})"


class HeldError(Exception):
    """Somebody else holds the workspace; the message is one line that says who."""

    def __init__(self, holder: object) -> None:
        super().__init__(f"the workspace is held by {holder}; wait until it ends, or stop it")


@dataclass(frozen=True)
class Hold:
    """What a holder has.

    Attributes:
        lock: descriptor of the lock, for the processes that must have ended before it falls.
        environment: of the stages that it runs.
        died: the holder before, if it was killed.
        mended: a line for the user about a file that a kill has left torn.
    """

    lock: int
    environment: dict[str, str]
    died: Holder | None
    mended: str | None


def _read(lock: int) -> Holder | None:
    text = os.pread(lock, 65536, 0)
    try:
        return Holder(**json.loads(text)) if text else None
    except (ValueError, TypeError):  # Somebody is writing it.
        return None


def _write(lock: int, text: str) -> None:
    # What is there stays where the disk has no room.
    os.ftruncate(lock, os.pwrite(lock, text.encode(), 0))


@contextmanager
def _opened(root: Path) -> Iterator[int]:
    file = root / _FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield lock
    finally:
        os.close(lock)


def _taken(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(process: int) -> bool:
    """Whether a process has not ended, waited for by its parent or not."""
    try:
        status = Path("/proc", str(process), "stat").read_text()
    except OSError:
        return False
    return not status.rpartition(")")[2].startswith(" Z")


def _command(process: int) -> str:
    try:
        words = Path("/proc", str(process), "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "a command"
    return " ".join(word.decode(errors="replace") for word in words).strip()


def _sharers(lock: int) -> list[str]:
    """The commands that share the lock, as the kernel lists them."""
    file = str(os.fstat(lock).st_ino)
    entries = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    found = [
        int(process)
        for _, kind, _, how, process, where, *_ in entries
        if (kind, how, where.rpartition(":")[2]) == ("FLOCK", "READ", file)
    ]
    return [f"{_command(process)} (process {process})" for process in found]


def _holders(lock: int) -> str:
    return ", ".join(_sharers(lock)) or str(_read(lock) or "another process")


def _is_ending(lock: int) -> bool:
    """Whether the holder was killed, and what it started is about to end."""
    holder = _read(lock)
    return holder is not None and not _sharers(lock) and not _lives(holder.process)


def _take(lock: int, waiting: Callable[[str], None] | None) -> None:
    """Take the lock for this process alone.

    Raises:
        HeldError: it is held, nobody waits for it, and its holder has not just been killed.
    """
    given_up = time.monotonic() + _ENDING_SECONDS
    told = None
    while not _taken(lock, fcntl.LOCK_EX):
        if waiting is not None:
            holders = _holders(lock)
            if holders != told:
                waiting(holders)
                told = holders
        elif not _is_ending(lock) or time.monotonic() > given_up:
            raise HeldError(_holders(lock))
        time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextmanager
def held(
    root: Path,
    name: str,
    *,
    flow_run: str | None = None,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Hold]:
    """Hold a workspace for the time of the block, alone.

    Args:
        name: how others are told who holds it.
        waiting: called with the holder's description if there is one, which is then waited for;
            None to be refused.

    Raises:
        HeldError: somebody else holds the workspace. A holder that was killed is waited for until
            its processes have ended.
    """
    with _opened(root) as lock:
        _take(lock, waiting)
        died = _read(lock)
        since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        own = Holder(name, os.getpid(), since, flow_run, secrets.token_hex(8))
        _write(lock, json.dumps(asdict(own)))
        try:
            yield Hold(lock, {_MINE: own.key}, died, torn.mend(root))
        finally:
            _write(lock, "")


@contextmanager
def shared(root: Path) -> Iterator[None]:
    """Keep holders away for the time of the block, unless it belongs to the holder.

    Raises:
        HeldError: somebody else holds the workspace.
    """
    key = os.environ.get(_MINE)
    with _opened(root) as lock:
        holder = _read(lock)
        if key is None and not _taken(lock, fcntl.LOCK_SH):
            raise HeldError(holder or "another process")
        if key is not None and (holder is None or holder.key != key):
            raise HeldError(f"{holder or 'nobody'}, no longer by the run of this stage")
        yield


def main() -> int:
    command = given_command("python -m tasks.processes.holder COMMAND [ARGUMENT ...]")
    exit_on(signal.SIGTERM)
    try:
        with disk.telling(), held(Path.cwd(), " ".join(command)) as hold:
            if hold.mended:
                print(hold.mended, file=sys.stderr)
            environment = os.environ | hold.environment
            with tethered(command, env=environment, keep=[hold.lock]) as running:
                return running.wait()
    except HeldError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
