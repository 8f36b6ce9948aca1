"""Golden learning rates."""

import pytest

from atcore.networks.schedules import SCHEDULES


@pytest.mark.parametrize(
    ("schedule", "step", "steps", "rate"),
    [
        ("cosine", 0, 10, 1.0),  # two steps of warm-up: 1/2, 2/2 of the peak
        ("cosine", 1, 10, 2.0),
        ("cosine", 2, 10, 2.0),  # then (1 + cos(pi t)) / 2 for t = 0, 1/8, ... 7/8
        ("cosine", 4, 10, 1.7071068),
        ("cosine", 6, 10, 1.0),
        ("cosine", 9, 10, 0.0761205),
        ("cosine", 0, 1, 2.0),
        ("cosine", 0, 100, 0.1),
        ("cosine", 19, 100, 2.0),
        ("cosine", 60, 100, 1.0),
        ("piecewise", 0, 8, 2.0),
        ("piecewise", 3, 8, 2.0),
        ("piecewise", 4, 8, 0.2),
        ("piecewise", 5, 8, 0.2),
        ("piecewise", 6, 8, 0.02),
        ("piecewise", 7, 8, 0.02),
        ("piecewise", 4, 9, 2.0),
        ("piecewise", 0, 1, 2.0),
        ("constant", 0, 10, 2.0),
        ("constant", 9, 10, 2.0),
    ],
)
def test_learning_rates(schedule: str, step: int, steps: int, rate: float) -> None:
    assert SCHEDULES[schedule](step, steps, 2.0) == pytest.approx(rate, abs=1e-6)
