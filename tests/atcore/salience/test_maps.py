"""Salience maps against captum and direct computations, and how they are put together."""

from dataclasses import replace

import captum.attr
import numpy as np
import pytest
import torch
from atcore_samples import shapes_table, split_of, trained_network, training_spec
from torch import Tensor, nn

from atcore.base.rng import start_noise
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import FoldedTwin
from atcore.networks.models import build
from atcore.salience.explain import explain, inside, untrained_weights
from atcore.salience.maps import (
    MAPS,
    MapSettings,
    grad_cam,
    gradient,
    integrated_gradients,
    smoothgrad,
)
from atcore.salience.measured import UNIFORM, joined
from atcore.salience.rows import Explained, Row

SPEC = ModelSpec("small", tuple("abcdefgh"), 32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
SETTINGS = MapSettings(samples=4, noise=0.1, steps=4, baseline=SPEC.mean, seed=0)


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
    maps = gradient(model, x, torch.tensor([0, 1]))
    np.testing.assert_allclose(maps, [[[5.0, 6.0]], [[9.0, 8.0]]])


def test_gradient_agrees_with_captum(network: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    reference = captum.attr.Saliency(network).attribute(x.clone().requires_grad_(), target=y)
    expected = reference.abs().amax(dim=1).detach()
    np.testing.assert_allclose(gradient(network, x, y), expected, rtol=1e-4, atol=1e-7)


def test_more_images_than_fit_into_a_pass_have_the_gradients_of_each_by_itself(
    network: nn.Module,
) -> None:
    x = torch.rand(130, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    y = torch.arange(130) % 8
    some = [0, 127, 128, 129]
    expected = torch.cat([gradient(network, x[i : i + 1], y[i : i + 1]) for i in some])
    np.testing.assert_allclose(gradient(network, x, y)[some], expected, rtol=1e-4, atol=1e-7)


def test_smoothgrad_agrees_with_a_direct_computation(
    network: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    samples, noise, seed = 23, 0.15, 4
    copies = torch.from_numpy(start_noise((3, 32, 32), np.arange(samples), "salience/noise", seed))
    for i, label in enumerate(y.tolist()):
        total = torch.zeros(3, 32, 32)
        deviation = noise * (x[i].max() - x[i].min())
        for copy in copies:
            noisy = (x[i] + deviation * copy)[None].requires_grad_()
            network(noisy)[0, label].backward()
            assert noisy.grad is not None
            total += noisy.grad[0]
        expected = (total / samples).abs().amax(dim=0)
        maps = smoothgrad(network, x, y, samples=samples, noise=noise, seed=seed)
        np.testing.assert_allclose(maps[i], expected, rtol=1e-3, atol=1e-6)


def test_smoothgrad_is_that_of_captum_where_the_deviation_is_the_same(
    images: tuple[Tensor, Tensor],
) -> None:
    # The gradient of a quadratic score is linear, so its mean over many copies is that of the
    # image whatever the draws; both have an error of about 0.1 / sqrt(4000).
    class Quadratic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x**2).sum(dim=(2, 3))

    x = images[0][:1]
    y = torch.tensor([1])
    reference = captum.attr.NoiseTunnel(captum.attr.Saliency(Quadratic())).attribute(
        x, nt_samples=4000, nt_samples_batch_size=500, stdevs=0.1, target=1, abs=False
    )
    spread = float(x.max() - x.min())
    maps = smoothgrad(Quadratic(), x, y, samples=4000, noise=0.1 / spread, seed=0)
    np.testing.assert_allclose(maps, reference.abs().amax(dim=1), atol=0.03)


def test_smoothgrad_without_noise_is_the_gradient(
    network: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    smooth = smoothgrad(network, x, y, samples=3, noise=0.0, seed=0)
    np.testing.assert_allclose(smooth, gradient(network, x, y), rtol=1e-4, atol=1e-7)


def test_integrated_gradients_of_a_linear_score_are_weights_times_distance() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0, -2.0, 3.0, 0.0, 5.0, -6.0], [0.0] * 6])
    x = torch.tensor([[[[0.5, 1.0]], [[0.5, 0.0]], [[0.25, 0.5]]]])
    # Distances from (0.5, 0.25, 0.25): 0, 0.5; 0.25, -0.25; 0, 0.25. Attributions: 0, -1; 0.75, 0;
    # 0, -1.5.
    maps = integrated_gradients(model, x, torch.tensor([0]), steps=3, baseline=(0.5, 0.25, 0.25))
    np.testing.assert_allclose(maps, [[[0.75, 1.5]]], rtol=1e-5)


def test_integrated_gradients_agree_with_a_direct_computation_and_are_complete(
    network: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    baseline = torch.tensor(SPEC.mean).view(1, 3, 1, 1).expand_as(x)
    points, weights = np.polynomial.legendre.leggauss(32)
    total = torch.zeros_like(x)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        between = (baseline + point * (x - baseline)).float().requires_grad_()
        score = network(between).gather(1, y[:, None]).sum()
        total += float(weight) * torch.autograd.grad(score, between)[0]
    attributions = total * (x - baseline)
    maps = integrated_gradients(network, x, y, steps=32, baseline=SPEC.mean)
    np.testing.assert_allclose(maps, attributions.abs().amax(dim=1), rtol=1e-3, atol=1e-6)
    # Sundararajan et al. 2017, axiom of completeness: they sum up to f(x) - f(baseline).
    with torch.no_grad():
        gain = (network(x) - network(baseline)).gather(1, y[:, None])[:, 0]
    np.testing.assert_allclose(attributions.sum(dim=(1, 2, 3)), gain, rtol=0.02, atol=1e-3)


class _TwoChannels(nn.Module):
    """Feature maps 2 x 2 of two channels, pooled into two scores."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 2, stride=2, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.scores = nn.Linear(2, 2, bias=False)
        self.features.weight.data.zero_()
        self.features.weight.data[0, 0, 0, 0] = 1  # the top left pixel of each block, red
        self.features.weight.data[1, 1, 0, 0] = 1  # the same, green
        self.scores.weight.data = torch.tensor([[4.0, -8.0], [-1.0, 0.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.pool(self.features(x)).flatten(1))


def test_grad_cam_by_hand() -> None:
    x = torch.zeros(2, 3, 4, 4)
    x[:, 0, ::2, ::2] = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    x[:, 1, ::2, ::2] = torch.tensor([[0.0, 0.0], [1.0, 0.25]])
    maps = grad_cam(_TwoChannels(), x, torch.tensor([0, 1]))
    # The weight of a channel is the mean of the score's gradient, a quarter of (4, -8): red minus
    # twice green is [1, 0.5], [-2, 0.5], without the negative one. Bilinear from 2 to 4 pixels.
    line = torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]])
    expected = line @ torch.tensor([[1.0, 0.5], [0.0, 0.5]]) @ line.T
    np.testing.assert_allclose(maps[0], expected, rtol=1e-6)
    # Nothing speaks for the second class.
    np.testing.assert_array_equal(maps[1], torch.zeros(4, 4))


@pytest.mark.parametrize(("architecture", "side"), [("small", 8), ("resnet18", 4)])
def test_grad_cam_of_a_folded_network_is_that_of_its_last_feature_maps(
    architecture: str, side: int, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    torch.manual_seed(0)
    model = build(ModelSpec(architecture, tuple("abcdefgh"), 32, SPEC.mean, SPEC.std))
    model = model.eval().requires_grad_(requires_grad=False)
    network = model[1]
    layer = network[3] if architecture == "small" else network.layer4
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda *args: seen.append(args[2]))
    model(x)
    handle.remove()
    assert seen[0].shape[2:] == (side, side)
    reference = captum.attr.LayerGradCam(model, layer).attribute(
        x.clone().requires_grad_(), target=y, relu_attributions=True
    )
    expected = captum.attr.LayerAttribution.interpolate(reference, (32, 32), "bilinear")[:, 0]
    folded = FoldedTwin(model).module
    scale = expected.detach().max()
    np.testing.assert_allclose(grad_cam(folded, x, y) / scale, expected.detach() / scale, atol=1e-4)


# --- all maps of a table, and their measures ------------------------------------------------------

ROWS = (
    Row("clean", 0.0, moved=False),
    Row("dim", 0.5, moved=False),
    Row("turned", 1.0, moved=True),
)


def _tables(clean: ImageTable) -> list[ImageTable]:
    return [
        clean,
        replace(clean, images=clean.images // 2),
        replace(clean, images=np.ascontiguousarray(clean.images[:, ::-1])),
    ]


def _explained(
    network: nn.Module, table: ImageTable, counts: dict[str, int], rows: slice = slice(None)
) -> Explained:
    torch.manual_seed(1)
    untrained = build(SPEC).eval().requires_grad_(requires_grad=False)
    tables = [each.rows(rows) for each in _tables(table)]
    return explain(network, untrained, ROWS, tables, counts, SETTINGS, "cpu")


def test_every_map_of_every_row_is_measured_as_far_as_it_is_known(network: nn.Module) -> None:
    table = shapes_table(6)
    result = _explained(network, table, {"gradient": 6, "grad_cam": 2, "smoothgrad": 0})
    assert {kind: maps.shape for kind, maps in result.maps.items()} == {
        "gradient": (3, 6, 32, 32),
        "grad_cam": (3, 2, 32, 32),
    }
    x = torch.from_numpy(table.images).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_array_equal(result.predicted[0], network(x).argmax(1))
    assert (result.maps["gradient"] >= 0).all()
    found = {part.key[:1] + part.key[2:]: part for part in result.measured}
    both = {"gini", "inside", "outline"}
    expected = {
        ("clean", UNIFORM): {"inside", "outline"},
        ("clean", "gradient"): both | {"untrained_rank_correlation"},
        ("dim", "gradient"): both | {"rank_correlation", "ssim"},
        ("turned", "gradient"): {"gini", "rank_correlation", "ssim"},
    }
    for (variant, kind), measures in expected.items():
        assert {m for v, k, m in found if (v, k) == (variant, kind)} == measures
    part = found["dim", "gradient", "inside"]
    np.testing.assert_array_equal(part.ids, table.ids)
    masks = inside(table)
    assert masks is not None
    maps = result.maps["gradient"][1]
    np.testing.assert_allclose(
        part.values,
        [m[mask].sum() / m.sum() for m, mask in zip(maps, masks, strict=True)],
        rtol=1e-5,
    )
    area = found["clean", UNIFORM, "inside"].values
    np.testing.assert_allclose(area, masks.mean(axis=(1, 2)), rtol=1e-6)


def test_images_without_known_outlines_are_compared_with_their_edges(network: nn.Module) -> None:
    table = replace(shapes_table(2), origin={})
    measured = _explained(network, table, {"gradient": 2}).measured
    assert {part.measure for part in measured if part.variant == "clean"} == {
        "gini",
        "untrained_rank_correlation",
        "edges",
    }


def test_the_measures_of_an_image_do_not_depend_on_the_images_beside_it(
    network: nn.Module,
) -> None:
    table, counts = shapes_table(5), dict.fromkeys(MAPS, 5)
    whole = joined(_explained(network, table, counts).measured)
    pieces = [
        _explained(network, table, dict.fromkeys(MAPS, size), rows).measured
        for rows, size in ((slice(0, 2), 2), (slice(2, 5), 3))
    ]
    cut = {part.key: part for part in joined(part for piece in pieces for part in piece)}
    assert cut.keys() == {part.key for part in whole}
    for part in whole:
        np.testing.assert_array_equal(cut[part.key].ids, part.ids)
        np.testing.assert_allclose(cut[part.key].values, part.values, rtol=2e-3, atol=2e-4)


def test_untrained_weights_are_a_function_of_the_seed() -> None:
    assert untrained_weights(SPEC, 3) == untrained_weights(SPEC, 3)
    assert untrained_weights(SPEC, 3) != untrained_weights(SPEC, 4)


def test_maps_of_a_trained_network_are_not_those_of_random_weights() -> None:
    training = split_of(shapes_table(256))
    model = trained_network(training_spec(epochs=1), training, split_of(shapes_table(8, start=256)))
    table = shapes_table(16, start=300)
    result = _explained(model, table, {"gradient": 16})
    (part,) = [m for m in result.measured if m.measure == "untrained_rank_correlation"]
    same = explain(model, model, ROWS, _tables(table), {"gradient": 16}, SETTINGS, "cpu")
    (itself,) = [m for m in same.measured if m.measure == "untrained_rank_correlation"]
    np.testing.assert_allclose(itself.values, 1, atol=1e-6)
    # Between two networks with nothing in common but the image, neighbouring pixels share some of
    # their ranks: about 0.2 was seen. A map that is an edge detector of the image stays above 0.9.
    assert part.values.mean() < 0.5
