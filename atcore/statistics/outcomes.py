"""Hits and misses by image, and how they change with a level."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Outcomes:
    """Which of the images that count were hits.

    Attributes:
        ids: int64, N, of the images that count.
        hits: bool, N.
    """

    ids: NDArray[np.int64]
    hits: NDArray[np.bool_]


@dataclass(frozen=True)
class Slopes:
    """How the answers to the images that count change with the level.

    Attributes:
        ids: int64, N, of the images that count, ascending.
        values: float32, N, -1 to 1: hits per step from one level to the next.
    """

    ids: NDArray[np.int64]
    values: NDArray[np.float32]


def slopes(levels: Sequence[Outcomes]) -> Slopes:
    """Least-squares slope of each image's hits (0 or 1) over the ranks of two or more levels.

    Their mean is the slope of the share of hits. Images count that count at every level.

    Args:
        levels: in rising order.
    """
    ids = reduce(np.intersect1d, [outcomes.ids for outcomes in levels])
    orders = [np.argsort(outcomes.ids) for outcomes in levels]
    hits = [
        outcomes.hits[order[np.searchsorted(outcomes.ids, ids, sorter=order)]]
        for outcomes, order in zip(levels, orders, strict=True)
    ]
    ranks = np.arange(len(levels)) - (len(levels) - 1) / 2
    return Slopes(ids, (ranks @ np.stack(hits) / (ranks @ ranks)).astype(np.float32))
