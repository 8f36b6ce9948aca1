"""Salience maps against direct computations."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atcore.evaluation import start_noise
from atcore.models import ModelSpec, build
from atcore.salience import explain, gradient_map, smoothgrad_map

SPEC = ModelSpec("small", tuple("abcdefgh"), 32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build(SPEC).eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, 3, 32, 32, generator=generator), torch.tensor([0, 5, 2])


def test_gradient_of_a_linear_score_is_its_weights() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 0.0, 5.0, -6.0], [7.0, 8.0, 9.0, 1.0, 2.0, 3.0]])
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2, bias=False))
    model[1].weight.data = weight
    x = torch.rand(2, 3, 1, 2)
    # Row 0 reshaped to 3 x 1 x 2 is [1, -2], [3, 0], [5, -6]: largest magnitudes 5 and 6.
    maps = gradient_map(model, x, torch.tensor([0, 1]))
    np.testing.assert_allclose(maps, [[[5.0, 6.0]], [[9.0, 8.0]]])


def test_gradient_map_agrees_with_captum(network: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    reference = captum.attr.Saliency(network).attribute(x.clone().requires_grad_(), target=y)
    expected = reference.abs().amax(dim=1).detach().numpy()
    np.testing.assert_allclose(gradient_map(network, x, y), expected, rtol=1e-4, atol=1e-7)


def test_smoothgrad_agrees_with_a_direct_computation(
    network: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    samples, noise, seed = 23, 0.15, 4
    copies = start_noise((3, 32, 32), np.arange(samples), "salience/noise", seed)
    for i, label in enumerate(y.tolist()):
        total = torch.zeros(3, 32, 32)
        deviation = noise * (x[i].max() - x[i].min())
        for copy in copies:
            noisy = (x[i] + deviation * copy)[None].requires_grad_()
            network(noisy)[0, label].backward()
            assert noisy.grad is not None
            total += noisy.grad[0]
        expected = (total / samples).abs().amax(dim=0).numpy()
        maps = smoothgrad_map(network, x, y, samples=samples, noise=noise, seed=seed)
        np.testing.assert_allclose(maps[i], expected, rtol=1e-3, atol=1e-6)


def test_smoothgrad_without_noise_is_the_gradient(
    network: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    smooth = smoothgrad_map(network, x, y, samples=3, noise=0.0, seed=0)
    np.testing.assert_allclose(smooth, gradient_map(network, x, y), rtol=1e-4, atol=1e-7)


def test_explain_reports_maps_and_predictions_of_every_image(network: nn.Module) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    labels = np.array([1, 7], dtype=np.int32)
    result = explain(network, pixels, labels, samples=2, noise=0.1, seed=0, device="cpu")
    assert {name: value.shape for name, value in result.items()} == {
        "gradient": (2, 32, 32),
        "smoothgrad": (2, 32, 32),
        "predicted": (2,),
    }
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_array_equal(result["predicted"], network(x).argmax(1).numpy())
    assert (result["gradient"] >= 0).all()
    assert (result["smoothgrad"] >= 0).all()
