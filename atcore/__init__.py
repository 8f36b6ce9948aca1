"""The science: from raw images to the report, a folder for each concern.

Imports no scheduler and nothing of `tasks` or `flows`; `pyproject.toml` has the order of rooms.
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atcore.networks.saved import Classifier

__all__ = ["load"]


def load(folder: str | PathLike[str]) -> "Classifier":
    """A trained network, such as that of `models/shapes/pgd_linf_8/0`.

    Returns:
        A module in eval mode, with frozen weights, on the CPU: float32 N x 3 x H x W in [0, 1] to
        N x classes logits. `classes` has their names, `image_size` the side of its images.

    Raises:
        UserError: a file is missing or damaged; names it.
    """
    # Whoever imports a part of atcore that does without torch shall not wait for it.
    from atcore.networks.saved import read  # noqa: PLC0415

    return read(Path(folder))
