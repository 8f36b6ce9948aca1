"""`python -m tasks.tools.raw DATASET` checks that raw images are there, with names one can read.

DVC would say that data is missing, and no more, or that a character cannot be encoded.
"""

from atcore.base.errors import UserError
from atcore.sources import entries
from tasks.console import command
from tasks.workspace import paths


def require(dataset: str) -> None:
    """Check the folder of a dataset's raw images.

    Raises:
        UserError: there is no such folder, or a name in it is not UTF-8.
    """
    folder = paths.RAW / dataset
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; docs/data.md says what to put there")
    entries.require_utf8(entries.names_below(folder))


if __name__ == "__main__":
    command.run(require, "DATASET")
