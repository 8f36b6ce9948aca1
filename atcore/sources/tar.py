"""Tar archives, of which single files are read where they lie."""

import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from atcore.base.errors import UserError
from atcore.sources.entries import require_downloaded, require_utf8

# What files of other kinds begin with.
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def _piece(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) < size:
        raise UserError(f"{path}: ends early")
    return data


def _require_unpacked(archive: Path) -> None:
    with archive.open("rb") as file:
        start = file.read(max(map(len, _PACKED)))
    for sign, kind in _PACKED.items():
        if start.startswith(sign):
            raise UserError(f"{archive}: {kind}, not a tar archive; unpack it to one")


def _require_end(archive: Path, end: int) -> None:
    """Check that an archive ends where it says so: Python takes damage for the end of its members.

    Args:
        end: where in the file the first byte after the last member is.

    Raises:
        UserError: nothing says so there, or there is more.
    """
    with archive.open("rb") as file:
        file.seek(end)
        mark = file.read(tarfile.BLOCKSIZE)
        if len(mark) < tarfile.BLOCKSIZE:
            raise UserError(f"{archive}: ends early, at byte {end + len(mark):,}; get it again")
        if any(mark):
            raise UserError(f"{archive}: damaged at byte {end:,}; get it again")
        while rest := file.read(1 << 20):
            if any(rest):
                raise UserError(
                    f"{archive}: there is more after its end at byte {end:,}; archives that are "
                    "joined to one file have to be files of their own"
                )


def members(archive: Path) -> dict[str, Callable[[], bytes]]:
    """How to read each file of an archive that is not compressed, by its name in it, in its order.

    Raises:
        UserError: it is damaged, or not such an archive.
    """
    found: dict[str, Callable[[], bytes]]
    try:
        require_downloaded(archive)
        _require_unpacked(archive)
        with tarfile.open(archive, "r:") as tar:
            found = {
                member.name.removeprefix("./"): partial(
                    _piece, archive, member.offset_data, member.size
                )
                for member in tar
                if member.isfile()
            }
            end = tar.offset
        _require_end(archive, end)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"{archive}: not a readable tar archive: {error}") from error
    require_utf8(found, f"{archive}: ")
    return found
