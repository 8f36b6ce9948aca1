"""The catalogue `method` becomes the attacks and losses that the papers describe."""

from pathlib import Path

import pytest

from atcore.attacks import L2, PGD, Linf
from atcore.losses import CrossEntropy, Loss, Trades
from tasks.attacks import training_attack
from tasks.params import load
from tasks.train import loss

METHODS = load(Path(__file__).parents[2] / "params.yaml").method
EPS = 8 / 255


@pytest.mark.parametrize(
    ("method", "attack"),
    [
        ("standard", None),
        ("fgsm_8", PGD(threat=Linf(EPS), step_size=EPS, steps=1, random_start=False)),
        ("fast_8", PGD(threat=Linf(EPS), step_size=1.25 * EPS, steps=1)),
        ("pgd_linf_8", PGD(threat=Linf(EPS), step_size=0.5 * EPS, steps=3)),
        ("trades_8", PGD(threat=Linf(EPS), step_size=EPS / 2, steps=3, start_deviation=0.001)),
        ("pgd_l2", PGD(threat=L2(1.5), step_size=0.75, steps=3)),
    ],
)
def test_the_attack_of_a_method(method: str, attack: PGD | None) -> None:
    assert training_attack(METHODS[method], steps=3) == attack


@pytest.mark.parametrize(
    ("method", "minimised"),
    [("standard", CrossEntropy()), ("fast_8", CrossEntropy()), ("trades_8", Trades(beta=6))],
)
def test_the_loss_of_a_method(method: str, minimised: Loss) -> None:
    assert loss(METHODS[method]) == minimised
