"""Files that a DVC killed while it wrote them has left torn.

DVC writes them in place, and from then on every command of it ends in an error until somebody
removes them. What they say can be done without: `rwlock` names running processes, and the outputs
that `dvc.lock` names are restored from the cache by what they depend on.
"""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path

_LOCK = Path("dvc.lock")
_RWLOCK = Path(".dvc", "tmp", "rwlock")
_RUN_CACHE = Path(".dvc", "cache", "runs")


def _is_whole(lock: bytes) -> bool:
    """Whether it ends where DVC stops writing, after the last value of a stage."""
    return lock.endswith(b"\n") and not lock.endswith(b":\n")


def _mend_rwlock(file: Path) -> None:
    # DVC edits the file under this lock: whoever has it sees no half-written one of the living.
    with file.with_name("rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        try:
            json.loads(file.read_bytes())
        except FileNotFoundError:
            return
        except ValueError:
            file.unlink()


def mend_run_cache(runs: Path) -> None:
    """Remove the empty folders among its entries.

    DVC removes an entry that was torn, and fails ever after on the folder that held no other.
    """
    for folder in runs.glob("*/*"):
        with suppress(OSError):  # of one that is not empty
            folder.rmdir()


def mend(root: Path) -> str | None:
    """Put aside the torn files of a workspace that nobody else may change meanwhile.

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
