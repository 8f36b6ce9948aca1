"""Parquet files: written whole or not at all, and refused in one line that names file and reason.

Equal tables give equal bytes.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from atcore.base.arrow import WRITE_AGAIN, readable
from atcore.base.errors import UserError
from atcore.base.files import replacing


def read(path: Path) -> pa.Table:
    """The whole table.

    Raises:
        UserError: the file is missing, damaged or no Parquet.
    """
    # `pq.read_table` imports pandas, if it is there: two thirds of a second.
    with readable(path, "Parquet", WRITE_AGAIN), pq.ParquetFile(path) as file:
        return file.read()


def read_as(what: str, schema: pa.Schema, path: Path) -> pa.Table:
    """The whole table, which has to have exactly these columns.

    Raises:
        UserError: as `read`, or the columns are others, so that it is no `what`.
    """
    table = read(path)
    if not table.schema.equals(schema):
        columns = ", ".join(f"{field.name} {field.type}" for field in table.schema)
        raise UserError(f"{path}: not a {what}; its columns are {columns}")
    return table


def write(table: pa.Table, path: Path, *, row_group_size: int | None = None) -> None:
    """Write atomically, by default in one group of rows up to pyarrow's limit of a million."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary, row_group_size=row_group_size, compression="zstd")
