"""Tar archives, of which single files are read where they lie."""

import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from atcore.base.errors import UserError
from atcore.sources.entries import require_no_web_page, require_utf8


def _piece(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) < size:
        raise UserError(f"{path}: ends early")
    return data


def members(archive: Path) -> dict[str, Callable[[], bytes]]:
    """How to read each file of an archive that is not compressed, by its name in it, in its order.

    Raises:
        UserError: it is damaged, or not such an archive.
    """
    found: dict[str, Callable[[], bytes]]
    try:
        require_no_web_page(archive)
        with tarfile.open(archive, "r:") as tar:
            found = {
                member.name.removeprefix("./"): partial(
                    _piece, archive, member.offset_data, member.size
                )
                for member in tar
                if member.isfile()
            }
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"{archive}: not a readable tar archive: {error}") from error
    require_utf8(f"{archive}: {name}" for name in found)
    return found
