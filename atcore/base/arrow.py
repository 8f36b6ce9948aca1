"""What all files of pyarrow have in common.

Its own conversions import pandas, which takes a second, to ask whether the values are of its kinds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atcore.base.errors import UserError

# What to do about a damaged file that is no input.
WRITE_AGAIN = "remove the file and run the stage again that wrote it"


@contextmanager
def readable(path: Path, kind: str, advice: str | None = None) -> Iterator[None]:
    """Of the block, which reads the file, pyarrow's errors become one line.

    Args:
        advice: what to do about a damaged file.

    Raises:
        UserError: the file is missing, damaged or not of that kind.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        line = f"{path}: not a readable {kind} file: {reason}"
        raise UserError("; ".join(filter(None, [line, advice]))) from error


def array(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """A column of numbers, without a copy where the values are of that kind already."""
    values = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(values)])


def constant(text: str, count: int) -> pa.Array:
    """A column that holds the same string in every row."""
    encoded = text.encode()
    ends = np.arange(count + 1, dtype=np.int32) * len(encoded)
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(encoded * count))
