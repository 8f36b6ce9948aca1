"""The catalogues become the attacks, losses and first weights that the papers describe."""

from pathlib import Path

import pytest

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial
from atcore.attacks.threats import L2, Linf
from atcore.base.errors import UserError
from atcore.training.losses import CrossEntropy, Loss, Trades
from tasks.evaluate import evaluation_attack
from tasks.params import Robustness, load
from tasks.train import loss, pretrained, training_attack, validation_attack

SETTINGS = load(Path(__file__).parents[2] / "params.yaml")
METHODS = SETTINGS.method
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
        ("free_8", PGD(threat=Linf(EPS), step_size=EPS, steps=1, random_start=False)),
        ("stadv", PGD(threat=Spatial(0.5, smoothness=0.005), step_size=0.25, steps=3)),
    ],
)
def test_the_attack_of_a_method(method: str, attack: PGD | None) -> None:
    assert training_attack(METHODS[method], steps=3, image_size=32) == attack


@pytest.mark.parametrize(
    ("method", "image_size", "eps"),
    [
        ("pgd_l2_4", 224, 4.0),
        ("pgd_l2_4", 64, 8 / 7),
        ("pgd_l2_12", 32, 12 / 7),
        ("pgd_l2", 224, 1.5),
    ],
)
def test_an_l2_radius_follows_the_side_where_it_is_given_at_one(
    method: str, image_size: int, eps: float
) -> None:
    attacks = (
        training_attack(METHODS[method], 3, image_size),
        validation_attack(METHODS[method], 5, image_size),
    )
    for attack, step in zip(attacks, (0.5, 0.5), strict=True):  # validation: 2.5 over 5 steps
        assert attack is not None
        assert isinstance(attack.threat, L2)
        assert attack.threat.eps == pytest.approx(eps)
        assert attack.step_size == pytest.approx(step * eps)


@pytest.mark.parametrize(
    ("chosen", "attack"),
    [
        (
            Robustness(norm="spatial", eps=2, step_size=0.25, steps=20, smoothness=0.01),
            PGD(threat=Spatial(2, smoothness=0.01), step_size=0.5, steps=20),
        ),
        (SETTINGS.evaluate.robustness[0], PGD(threat=Linf(4 / 255), step_size=1 / 255, steps=20)),
        (SETTINGS.evaluate.robustness[1], PGD(threat=Linf(EPS), step_size=2 / 255, steps=20)),
    ],
    ids=["spatial", "4/255", "8/255"],
)
def test_the_attacks_of_the_evaluation(chosen: Robustness, attack: PGD) -> None:
    assert evaluation_attack(chosen) == attack


@pytest.mark.parametrize(
    ("method", "minimised"),
    [("standard", CrossEntropy()), ("fast_8", CrossEntropy()), ("trades_8", Trades(beta=6))],
)
def test_the_loss_of_a_method(method: str, minimised: Loss) -> None:
    assert loss(METHODS[method]) == minimised


def test_weights_that_cannot_be_downloaded_are_named_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nothing listens
    assert pretrained(SETTINGS, "cifar10") is None
    with pytest.raises(UserError) as caught:
        pretrained(SETTINGS, "caltech256")
    message = str(caught.value)
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    file = tmp_path / "hub/checkpoints/resnet18-f37072fd.pth"
    key = "dataset.caltech256.training.weights"
    assert message.startswith(f"{key}: cannot download {url} to {file} (")
    assert message.endswith("; 'none' starts without")
    assert "\n" not in message
