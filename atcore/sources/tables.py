"""Image tables that the pipeline itself has written, as those of another workspace."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.images.stored import StoredTable
from atcore.sources.entries import pixmap
from atcore.sources.images import Images
from atcore.sources.labels import Labels
from atcore.sources.shards import Shard


def opener(path: Path, _images: Images, _label: str | None) -> Shard:
    """Open an image table; its images keep their size, and the class names their order.

    Raises:
        UserError: the file is none.
    """
    try:
        table = StoredTable(path)
    except UserError as error:
        raise UserError(
            f"{error}; only whole image tables that this pipeline has written are read so: export "
            "other data, as of the library `datasets`, as Parquet and set the dataset's `format` "
            "to parquet"
        ) from error

    def read(rows: NDArray[np.int64]) -> Iterator[bytes]:
        return (pixmap(image) for row in rows for image in table.images[row : row + 1])

    return Shard(
        names=[f"{path}: row {row}" for row in range(len(table))],
        labels=Labels(table.labels, table.classes, listed=True),
        read=read,
    )
