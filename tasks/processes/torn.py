"""Files that a killed DVC has left torn, or that name it as if it still ran.

DVC writes them in place, and from then on every command of it ends in an error until somebody
removes them. What they say can be done without: `rwlock` names running processes, and the outputs
that `dvc.lock` names are restored from the cache by what they depend on. Processes are named by
their numbers alone, which others have after a restart of the machine.
"""

import fcntl
import json
import os
from contextlib import suppress
from itertools import chain
from pathlib import Path

_LOCK = Path("dvc.lock")
_RWLOCK = Path(".dvc", "tmp", "rwlock")
_RUN_CACHE = Path(".dvc", "cache", "runs")


def _is_whole(lock: bytes) -> bool:
    """Whether it ends where DVC stops writing, after the last value of a stage."""
    return lock.endswith(b"\n") and not lock.endswith(b":\n")


def _ran(process: int, when: float) -> bool:
    """Whether a process runs and did so at a time, in seconds since the epoch."""
    # Of the many commands that import this module few come here.
    import psutil  # noqa: PLC0415

    try:
        started: float = psutil.Process(process).create_time()
    except psutil.NoSuchProcess:
        return False
    return started <= when


def _mend_rwlock(file: Path) -> None:
    # DVC edits the file under this lock: whoever has it sees no half-written one of the living.
    with file.with_name("rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        try:
            lock = json.loads(file.read_bytes())
        except FileNotFoundError:
            return
        except ValueError:
            file.unlink()
            return
        changed = file.stat().st_mtime
        write, read = lock.get("write", {}), lock.get("read", {})
        named = {entry["pid"] for entry in chain(write.values(), *read.values())}
        lost = {process for process in named if not _ran(process, changed)}
        if not lost:
            return
        write = {path: one for path, one in write.items() if one["pid"] not in lost}
        read = {
            path: [one for one in readers if one["pid"] not in lost]
            for path, readers in read.items()
        }
        half = file.with_name("rwlock.half")
        half.write_text(json.dumps({"write": write, "read": read}))
        os.replace(half, file)


def mend_run_cache(runs: Path) -> None:
    """Remove the empty folders among its entries.

    DVC removes an entry that was torn, and fails ever after on the folder that held no other.
    """
    for folder in runs.glob("*/*"):
        with suppress(OSError):  # of one that is not empty
            folder.rmdir()


def mend(root: Path) -> str | None:
    """Mend these files of a workspace that nobody else may change meanwhile.

    Returns:
        A line for the user if `dvc.lock` was torn.
    """
    _mend_rwlock(root / _RWLOCK)
    mend_run_cache(root / _RUN_CACHE)
    lock = root / _LOCK
    if not lock.exists() or _is_whole(lock.read_bytes()):
        return None
    aside = root / _RWLOCK.with_name("dvc.lock.torn")
    os.replace(lock, aside)
    return f"{_LOCK} was torn by a kill and lies in {aside.relative_to(root)} now; going on without"
