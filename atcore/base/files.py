"""Files and folders that appear under their final name complete, or not at all."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it replaces `path`, synced to disk.

    The caller creates a file or a folder under the yielded name. After an exception nothing is
    left under either name that was not there before.

    Raises:
        OSError: as the block does, but with `path` as the file's name where it has none, as of a
            full disk, or a temporary one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.writing-"
    for abandoned in path.parent.glob(f"{glob.escape(prefix)}*"):  # by a process that was killed
        shutil.rmtree(abandoned)
    holder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    temporary = holder / path.name
    try:
        yield temporary
        for part in [*temporary.rglob("*"), temporary] if temporary.is_dir() else [temporary]:
            _sync(part)
        if path.is_dir():
            # Moved as a whole: a kill while it is deleted would leave half of it.
            os.replace(path, holder / f".{path.name}")
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno and (error.filename is None or holder.name in str(error.filename)):
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file atomically."""
    write_bytes(path, text.encode())
