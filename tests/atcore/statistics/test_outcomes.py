"""Slopes of hits over levels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atcore.statistics.outcomes import Outcomes, slopes


def test_slopes_by_hand() -> None:
    # Images 7, 8, 9 at four levels; ranks -1.5, -0.5, 0.5, 1.5, whose squares sum to 5.
    hits = {7: [1, 1, 1, 0], 8: [1, 0, 1, 0], 9: [0, 0, 1, 1]}
    found = slopes([level_of({i: h[at] for i, h in hits.items()}) for at in range(4)])
    assert found.ids.tolist() == [7, 8, 9]
    assert found.values.tolist() == pytest.approx([-1.5 / 5, -1.0 / 5, 2.0 / 5])


def level_of(hits: dict[int, int]) -> Outcomes:
    return Outcomes(np.array([*hits], np.int64), np.array([*hits.values()], np.bool_))


def test_slopes_are_of_the_images_that_count_at_every_level() -> None:
    found = slopes([level_of({3: 1, 1: 0, 2: 1}), level_of({2: 0, 9: 1, 1: 1})])
    assert (found.ids.tolist(), found.values.tolist()) == ([1, 2], [1.0, -1.0])
    assert len(slopes([level_of({1: 1}), level_of({2: 1})]).ids) == 0


@given(
    st.integers(2, 6).flatmap(
        lambda levels: st.lists(
            st.lists(st.integers(0, 1), min_size=levels, max_size=levels), min_size=1, max_size=5
        )
    )
)
def test_slopes_are_those_of_least_squares(hits: list[list[int]]) -> None:
    found = slopes([level_of(dict(enumerate(at))) for at in zip(*hits, strict=True)])
    expected = [stats.linregress(range(len(one)), one).slope for one in hits]
    assert found.values.tolist() == pytest.approx(expected, abs=1e-6)
