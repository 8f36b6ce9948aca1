"""Folded twins: the same function as the network, its gradients, and its training followed."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import FoldedTwin
from atcore.networks.models import build

NETWORKS = [
    pytest.param(architecture, size, id=f"{architecture}-{size}px")
    for architecture in ("small", "resnet18")
    for size in (32, 64)
]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def lived_in(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch normalisations the weights and statistics of a network that has been trained."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                if module.affine:
                    module.weight.copy_(uniform(module.weight, 0.5, 1.5))
                    module.bias.copy_(uniform(module.bias, -0.5, 0.5))
                module.running_mean.copy_(uniform(module.running_mean, -0.3, 0.3))
                module.running_var.copy_(uniform(module.running_var, 0.3, 2.0))
    return model


def network(architecture: str, size: int) -> nn.Module:
    spec = ModelSpec(architecture, ("a", "b", "c"), size, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    return lived_in(build(spec))


def images(size: int, count: int = 3) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_same_function(twin: nn.Module, model: nn.Module, x: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        expected = model(x)
        assert expected.std() > 0.01
        torch.testing.assert_close(
            twin(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())
        )


class SharedConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.other = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.other(self.conv(self.bn(self.conv(x))))
        return y


class ReadTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y: Tensor = x + self.bn(x)
        return y


class DependsOnValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        return y if y.sum() > 0 else -y


@pytest.mark.parametrize(("architecture", "size"), NETWORKS)
def test_twin_computes_what_the_network_computes_in_eval_mode(architecture: str, size: int) -> None:
    model = network(architecture, size)
    twin = FoldedTwin(model).module
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    assert_same_function(twin, model, images(size))


@pytest.mark.parametrize(("architecture", "size"), NETWORKS)
def test_twin_has_the_input_gradients_of_the_network(architecture: str, size: int) -> None:
    # In double precision folding moves no unit across its kink, where the gradient would jump.
    model = network(architecture, size).double()
    twin = FoldedTwin(model, torch.float64).module
    gradients = []
    for module in (model.eval(), twin):
        x = images(size).double().requires_grad_()
        loss = F.cross_entropy(module(x), torch.tensor([0, 1, 2]))
        gradients.append(torch.autograd.grad(loss, x)[0])
    expected, found = gradients
    largest = float(expected.abs().max())
    assert largest > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * largest)


@pytest.mark.parametrize("architecture", ["small", "resnet18"])
def test_twin_follows_training_when_refreshed(architecture: str) -> None:
    model = network(architecture, 32)
    twin = FoldedTwin(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = images(32, 8), torch.arange(8) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    # Every weight and every running statistic has moved, so the twin must have followed them all.
    assert not any(
        torch.equal(value, before[name])
        for name, value in model.state_dict().items()
        if not name.endswith((".mean", ".std"))
    )
    model.eval()
    with torch.no_grad():
        assert not torch.allclose(twin.module(x), model(x), rtol=1e-3, atol=1e-3)
    twin.refresh()
    assert_same_function(twin.module, model, x)


def test_network_is_left_as_it_was() -> None:
    model = network("small", 32).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = FoldedTwin(model)
    twin.module(images(32))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_twin_is_frozen_and_shares_no_memory_with_the_network() -> None:
    model = network("small", 32)
    twin = FoldedTwin(model)
    assert not any(parameter.requires_grad for parameter in twin.module.parameters())
    live = {parameter.data_ptr() for parameter in model.parameters()}
    assert live.isdisjoint(parameter.data_ptr() for parameter in twin.module.parameters())


def test_twin_in_bfloat16_is_close_and_keeps_its_weights_in_it() -> None:
    model = network("small", 32).eval()
    twin = FoldedTwin(model, torch.bfloat16).module
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.bfloat16}
    x = images(32)
    with torch.no_grad():
        expected = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = twin(x).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * float(expected.abs().max()))


def test_bias_of_a_convolution_is_folded_in() -> None:
    model = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4)))
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([1.0, -2.0, 3.0, -4.0]))
    assert_same_function(FoldedTwin(model).module, model, images(8))


def test_folding_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0)).eval()
    with torch.no_grad():
        model[0].weight.fill_(6.0)
        model[1].running_mean.fill_(3.0)
        model[1].running_var.fill_(4.0)
        model[1].weight.fill_(5.0)
        model[1].bias.fill_(0.25)
    folded = dict(FoldedTwin(model).module.named_parameters())
    # 5 (6 x - 3) / 2 + 0.25 = 15 x - 7.25
    assert [value.item() for value in folded.values()] == [15.0, -7.25]


def test_convolution_without_batch_normalisation_follows_training_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    twin = FoldedTwin(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    twin.refresh()
    assert_same_function(twin.module, model, images(8))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), id="not after one"
        ),
        pytest.param(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), id="no weights"
        ),
        pytest.param(SharedConvolution(), id="of two values"),
        pytest.param(ReadTwice(), id="also read before"),
        pytest.param(DependsOnValues(), id="untraceable"),
    ],
)
def test_what_cannot_be_folded_stays_and_follows_training_too(model: nn.Module) -> None:
    lived_in(model)
    twin = FoldedTwin(model)
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                value.add_(0.1)
    twin.refresh()
    assert any(isinstance(module, nn.BatchNorm2d) for module in twin.module.modules())
    assert_same_function(twin.module, model, images(8))
