"""When what was read is what was written."""

from collections.abc import Iterable

import numpy as np


def assert_same_arrays(found: object, expected: object, names: Iterable[str]) -> None:
    """Equal values of equal type under each of these names, or None under both."""
    for name in names:
        mine, theirs = getattr(found, name), getattr(expected, name)
        if theirs is None:
            assert mine is None
        else:
            assert mine.dtype == theirs.dtype
            assert np.array_equal(mine, theirs)
