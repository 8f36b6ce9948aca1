"""What lies on disk."""

from pathlib import Path

from atcore.images.stored import StoredTable
from atcore.images.table import ImageTable, concatenate


def read_table(path: Path) -> ImageTable:
    """All rows of an image table, which has some, held against their checksums."""
    return concatenate(list(StoredTable(path).verified()))
