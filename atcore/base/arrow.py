"""What all files that pyarrow reads have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from atcore.base.errors import UserError


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Of the block, which reads the file, pyarrow's errors become one line.

    Raises:
        UserError: the file is missing, damaged or not of that kind.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a readable {kind} file: {reason}") from error
