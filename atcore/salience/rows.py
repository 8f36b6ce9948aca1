"""What is explained, and the answer: without torch, for the stage that only passes them on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atcore.salience.measured import Measured


@dataclass(frozen=True)
class Row:
    """One variant of the images at one level.

    Attributes:
        moved: whether things are elsewhere than in the clean image.
    """

    variant: str
    level: float
    moved: bool


@dataclass(frozen=True)
class Explained:
    """The maps and measures of n images on R rows.

    Attributes:
        maps: float32 R x m x H x W by kind, of the first m <= n images.
        predicted: int32 R x n.
        measured: of the same maps.
    """

    maps: dict[str, NDArray[np.float32]]
    predicted: NDArray[np.int32]
    measured: list[Measured]
