"""Losses against their formulas, written out in elementary operations on a linear model."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from atcore.attacks.pgd import PGD
from atcore.attacks.threats import L2, Linf, ThreatModel
from atcore.base.errors import UserError
from atcore.training.losses import CrossEntropy, Loss, Trades

X = torch.tensor([[0.2, 0.7], [0.9, 0.4], [0.5, 0.1]]).view(3, 1, 1, 2)
MOVED = torch.tensor([[0.3, 0.6], [0.8, 0.5], [0.4, 0.2]]).view(3, 1, 1, 2)
NOISE = torch.tensor([[1.0, -0.5], [0.3, 0.8], [-1.2, 0.4]]).view(3, 1, 1, 2)
Y = torch.tensor([0, 2, 1])


class Linear(nn.Module):
    """Three logits of an image with two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[3.0, -4.0], [1.0, 2.0], [-2.0, 0.5]]))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


def probabilities(weight: Tensor, x: Tensor) -> Tensor:
    powers = (x.flatten(1) @ weight.T).exp()
    return powers / powers.sum(1, keepdim=True)


def cross_entropy(p: Tensor) -> Tensor:
    """Mean of -log p[y]."""
    return -torch.stack([p[i, label].log() for i, label in enumerate(Y.tolist())]).mean()


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of each image."""
    return (p * (p / q).log()).sum(1)


def test_cross_entropy_is_that_of_the_attacked_images() -> None:
    model, weight = Linear(), Linear().weight
    loss, logits = CrossEntropy()(model, X, MOVED, Y)
    expected = cross_entropy(probabilities(weight, MOVED))
    torch.testing.assert_close(loss, expected)
    assert torch.equal(logits, model(MOVED))
    assert CrossEntropy().target(model, X, Y) is Y


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_trades_and_its_gradient_are_those_of_the_formula(beta: float) -> None:
    model, weight = Linear(), Linear().weight
    loss, logits = Trades(beta=beta)(model, X, MOVED, Y)
    p, q = probabilities(weight, X), probabilities(weight, MOVED)
    expected = cross_entropy(p) + beta * divergence(p, q).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, model.weight), torch.autograd.grad(expected, weight)
    )
    assert torch.equal(logits, model(MOVED))


@pytest.mark.parametrize("loss", [CrossEntropy(), Trades(beta=6)], ids=repr)
def test_smoothed_labels_weigh_all_classes(loss: Loss) -> None:
    model, smoothed = Linear(), replace(loss, label_smoothing=0.3)
    p = probabilities(model.weight, X if isinstance(loss, Trades) else MOVED)
    # 0.3 spread over three classes: 0.8 for the label, 0.1 for each of the others.
    weights = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    extra = -(weights * p.log()).sum(1).mean() - cross_entropy(p)
    plain, _ = loss(model, X, MOVED, Y)
    torch.testing.assert_close(smoothed(model, X, MOVED, Y)[0], plain + extra)
    assert torch.equal(smoothed.target(model, X, Y), loss.target(model, X, Y))


def test_trades_is_cross_entropy_where_nothing_was_moved() -> None:
    model = Linear()
    loss, _ = Trades(beta=6)(model, X, X, Y)
    plain, _ = CrossEntropy()(model, X, X, Y)
    assert loss.item() == pytest.approx(plain.item())


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.1)], ids=repr)
def test_the_attack_of_trades_climbs_the_divergence(threat: ThreatModel) -> None:
    model = Linear().requires_grad_(False)
    attack = PGD(threat=threat, step_size=0.06, steps=1, start_deviation=0.001)
    target = Trades(beta=6).target(model, X, Y)
    attacked = attack.perturb(model, X, target, NOISE)

    start = (X + 0.001 * NOISE).requires_grad_()
    p, q = probabilities(model.weight, X), probabilities(model.weight, start)
    (gradient,) = torch.autograd.grad(divergence(p, q).sum(), start)
    direction = gradient.sign()
    if isinstance(threat, L2):
        direction = gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    expected = start.detach() + 0.06 * direction
    torch.testing.assert_close(attacked, expected, rtol=0, atol=2e-5)

    twice = replace(attack, steps=2).perturb(model, X, target, NOISE)
    p, once, further = (probabilities(model.weight, x) for x in (X, attacked, twice))
    assert (divergence(p, further) > divergence(p, once)).all()


def test_the_target_of_trades_is_constant() -> None:
    target = Trades(beta=6).target(Linear(), X, Y)
    assert not target.requires_grad
    torch.testing.assert_close(target.sum(1), torch.ones(3))


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf")])
def test_a_wrong_beta_is_refused_in_one_line(beta: float) -> None:
    with pytest.raises(UserError, match=r"^beta: .* is not allowed; give a finite number >= 0$"):
        Trades(beta=beta)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.1, float("nan")])
def test_a_wrong_label_smoothing_is_refused_in_one_line(share: float) -> None:
    with pytest.raises(UserError, match=r"^label_smoothing: .* is not allowed; give a share"):
        CrossEntropy(label_smoothing=share)
