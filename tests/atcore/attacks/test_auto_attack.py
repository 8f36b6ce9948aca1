"""AutoAttack: exact on linear networks, never weaker than PGD, inside the ball, reproducible."""

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from atcore.attacks.auto_attack import AutoAttack
from atcore.attacks.pgd import PGD
from atcore.attacks.threats import L2, Linf
from atcore.evaluation.asking import predict
from atcore.evaluation.predictions import Predictions
from atcore.images.pixels import to_pixels
from atcore.images.table import ImageTable

SIZE = 8
CLASSES = 5


class _Linear(nn.Module):
    """Linear in the pixels, so that the distance of every image to the decision is known."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = torch.randn(classes, 3 * SIZE * SIZE, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


class _Curved(nn.Module):
    """A network whose decisions no attack finds at once."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(72, CLASSES)
            ).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x - 0.5)


def images_for(network: nn.Module, count: int = 24) -> ImageTable:
    """Images far enough from black and white for every eps, labelled as the network sees them."""
    pixels = np.random.default_rng(0).integers(90, 165, (count, SIZE, SIZE, 3), np.uint8)
    labels = network(to_pixels(torch.from_numpy(pixels))).argmax(1).numpy().astype(np.int32)
    ids = np.arange(50, 50 + count)
    return ImageTable(ids, pixels, labels, tuple(f"c{i}" for i in range(CLASSES)))


def answers(
    network: nn.Module, images: ImageTable, attack: AutoAttack | PGD, seed: int = 0
) -> Predictions:
    return predict(network, images, variant="v", level=1.0, attack=attack, seed=seed, device="cpu")


@pytest.mark.parametrize("kind", [Linf, L2])
def test_a_radius_just_beyond_the_distance_to_the_decision_is_enough(
    kind: type[Linf] | type[L2],
) -> None:
    # The distance of x to where class j overtakes y is (f_y - f_j) / |w_y - w_j|, in the dual norm.
    network = _Linear()
    images = images_for(network)
    x, y = to_pixels(torch.from_numpy(images.images)), torch.from_numpy(images.labels).long()
    logits = network(x)
    margins = logits.gather(1, y[:, None]) - logits
    slopes = (network.weight[y].unsqueeze(1) - network.weight).norm(
        p=1 if kind is Linf else 2, dim=2
    )
    distances = (margins / slopes).nan_to_num(torch.inf).amin(1)
    furthest = distances.argmax()
    attack = AutoAttack(kind(1.01 * distances[furthest].item()))
    found = attack.perturb(network, x, y, seed=0)
    assert (network(found).argmax(1) != y).all()
    delta = (found - x)[furthest].flatten()
    size = delta.abs().max() if kind is Linf else delta.norm()
    assert distances[furthest] <= size <= attack.threat.eps + 1e-6


@pytest.mark.parametrize("threat", [Linf(24 / 255), L2(1.0)], ids=repr)
def test_perturbations_stay_in_the_ball_and_in_the_range_of_pixels(threat: Linf | L2) -> None:
    network = _Curved()
    pixels = np.random.default_rng(1).choice([0, 255], (6, SIZE, SIZE, 3)).astype(np.uint8)
    x = to_pixels(torch.from_numpy(pixels))
    y = network(x).argmax(1)
    y[0] = (y[0] + 1) % CLASSES
    before = torch.get_rng_state()
    found = AutoAttack(threat).perturb(network, x, y, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    delta = (found - x).flatten(1)
    norms = delta.abs().amax(1) if isinstance(threat, Linf) else delta.norm(dim=1)
    assert (network(found).argmax(1) != y).all()
    assert norms[0] == 0  # wrong from the start
    assert (norms[1:] > 0).all()
    assert (norms <= threat.eps + 1e-6).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_no_weaker_than_pgd() -> None:
    # Random starts may favour PGD on an image, but not on this small and smooth network.
    network, eps = _Curved(), 2 / 255
    images = images_for(network, 10)
    auto = answers(network, images, AutoAttack(Linf(eps)))
    pgd = answers(network, images, PGD(threat=Linf(eps), step_size=eps / 4, steps=20))
    assert 0 < auto.correct.sum() < len(images)
    assert not (auto.correct & ~pgd.correct).any()


@pytest.mark.parametrize("threat", [Linf(1.5 / 255), L2(0.06)], ids=repr)
def test_fools_the_images_that_the_implementation_of_torchattacks_fools(threat: Linf | L2) -> None:
    network = _Curved()
    images = images_for(network, 4)
    x, y = to_pixels(torch.from_numpy(images.images)), torch.from_numpy(images.labels).long()
    norm = "Linf" if isinstance(threat, Linf) else "L2"
    other = torchattacks.AutoAttack(network, norm=norm, eps=threat.eps, n_classes=CLASSES, seed=0)
    stand = network(AutoAttack(threat).perturb(network, x, y, seed=0)).argmax(1) == y
    assert 0 < stand.sum() < len(images)
    # The two start from different random numbers, but no image is as close to the edge as that.
    assert torch.equal(stand, network(other(x.contiguous(), y)).argmax(1) == y)


def test_a_shard_has_its_answers_whatever_comes_before_it() -> None:
    network, attack = _Curved(), AutoAttack(Linf(12 / 255))
    shard, others = images_for(network, 4).shards(2)
    first = answers(network, shard, attack)
    # What stands has gone through all four attacks, which draw numbers of their own.
    before = answers(network, others, AutoAttack(Linf(1.5 / 255)))
    assert before.correct.any()
    torch.rand(3)  # whatever else the worker has drawn
    assert answers(network, shard, attack).probabilities.tobytes() == first.probabilities.tobytes()
    other = answers(network, shard, attack, seed=1).probabilities
    assert other.tobytes() != first.probabilities.tobytes()
