"""A full disk, which the user can mend: told in one line that names what is full."""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
# More than Ray writes when it starts or a program connects, and less than any work needs.
_BYTES_FOR_RAY = 8 << 20


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that a disk, or somebody's share of it, is full.

    From other processes and languages there are only the operating system's words.
    """
    return any(
        getattr(error, "errno", None) == number or os.strerror(number) in str(error)
        for number in _NUMBERS
    )


def full(folder: Path) -> OSError:
    """The error that says that there is no room for this folder."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def rays_folder() -> Path:
    """Where Ray keeps its logs, the code of tasks and what does not fit into memory."""
    return Path(os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp")), "ray")


def require_room_for_ray() -> None:
    """Ray itself waits for a minute, or logs much, and then says nothing of its folder.

    Raises:
        OSError: the folder is full.
    """
    folder = rays_folder()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if shutil.disk_usage(there).free < _BYTES_FOR_RAY:
        raise full(folder)


def line(error: BaseException, *folders: Path) -> str:
    """What to tell the user of an error that says so.

    Args:
        folders: where it may have been, besides the working directory and the temporary folders.
            Where the error names no file, the one with the least room is named.
    """
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if named is None:
        places = (Path.cwd(), *folders, rays_folder(), Path(tempfile.gettempdir()))
        there = [place for place in places if place.exists()]
        named = min(there, key=lambda place: shutil.disk_usage(place).free)
    return (
        f"{named}: no space left on the device; make room there and run again: what is done is kept"
    )


@contextmanager
def telling() -> Iterator[None]:
    """Let a full disk end the command that the block is in one line and exit status 2."""
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        print(f"error: {line(error)}", file=sys.stderr)
        sys.exit(2)
