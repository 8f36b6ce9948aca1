"""The attacks of the catalogue `method` become those of atcore that their papers describe."""

from pathlib import Path

import pytest

from atcore.attacks import L2, PGD, Linf
from tasks.attacks import training_attack
from tasks.params import load

METHODS = load(Path(__file__).parents[2] / "params.yaml").method
EPS = 8 / 255


@pytest.mark.parametrize(
    ("method", "attack"),
    [
        ("standard", None),
        ("fgsm_8", PGD(threat=Linf(EPS), step_size=EPS, steps=1, random_start=False)),
        ("fast_8", PGD(threat=Linf(EPS), step_size=1.25 * EPS, steps=1)),
        ("pgd_linf_8", PGD(threat=Linf(EPS), step_size=0.5 * EPS, steps=3)),
        ("pgd_l2", PGD(threat=L2(1.5), step_size=0.75, steps=3)),
    ],
)
def test_the_attack_of_a_method(method: str, attack: PGD | None) -> None:
    assert training_attack(METHODS[method].attack, steps=3) == attack
