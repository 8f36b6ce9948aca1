"""Every architecture: size, function, folding, a training step, and where Grad-CAM looks."""

from collections.abc import Callable

import pytest
import torch
from robustbench_files import robustbench
from torch import Tensor, nn
from torch.nn import functional as F

from atcore.base.errors import UserError
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import FoldedTwin
from atcore.networks.models import build, require_trainable
from atcore.salience.maps import feature_maps, grad_cam

# Published numbers of parameters, in millions, for as many classes as they are published for; side
# of the images here; last feature maps: channels and side.
CASES = {
    "resnet18": (11.689512, 1000, 32, (512, 4)),
    "resnet50": (25.557032, 1000, 32, (2048, 4)),
    "preact_resnet18": (11.172170, 10, 32, (512, 4)),
    "wide_resnet28_10": (36.479194, 10, 32, (640, 8)),
    "wide_resnet34_10": (46.160474, 10, 32, (640, 8)),
    "alexnet": (61.100840, 1000, 64, (256, 1)),
    "convnext_tiny": (28.589128, 1000, 64, (768, 2)),
    "densenet121": (7.978856, 1000, 64, (1024, 2)),
    "efficientnet_b0": (5.288548, 1000, 64, (1280, 2)),
    "googlenet": (6.624904, 1000, 64, (1024, 2)),
    "mnasnet1_0": (4.383312, 1000, 64, (1280, 2)),
    "mobilenet_v2": (3.504872, 1000, 64, (1280, 2)),
    "mobilenet_v3_large": (5.483032, 1000, 64, (960, 2)),
    "regnet_y_400mf": (4.344144, 1000, 64, (440, 2)),
    "shufflenet_v2_x1_0": (2.278604, 1000, 64, (1024, 2)),
    "squeezenet1_1": (1.235496, 1000, 64, (3, 3)),
    "swin_t": (28.288354, 1000, 64, (768, 2)),
    "vit_b_16": (86.567656, 1000, 64, None),
}


def spec(architecture: str, size: int, classes: int = 3) -> ModelSpec:
    names = tuple(f"class {i}" for i in range(classes))
    return ModelSpec(architecture, names, size, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def seeded(architecture: str, size: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(spec(architecture, size))


def images(size: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("architecture", CASES)
def test_it_has_as_many_parameters_as_is_published(architecture: str) -> None:
    millions, classes, *_ = CASES[architecture]
    if architecture.startswith("regnet"):
        model = build(spec(architecture, 224, classes))  # computes with what it draws
    else:
        with torch.device("meta"):
            model = build(spec(architecture, 224 if classes == 1000 else 32, classes))
    assert sum(p.numel() for p in model.parameters()) == round(millions * 1e6)


@pytest.mark.parametrize("architecture", CASES)
def test_its_twin_follows_a_training_step_and_grad_cam_looks_at_its_last_maps(
    architecture: str,
) -> None:
    *_, size, maps = CASES[architecture]
    model, x, y = seeded(architecture, size), images(size), torch.tensor([0, 2])
    twin = FoldedTwin(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # which layers are left out in this step
        # In the first, nothing reaches further than a last layer that begins with zeros.
        for _ in range(2):
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    twin.refresh()
    model.eval()
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(
            twin.module(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )
    if maps is None:
        with pytest.raises(UserError, match="averages no feature maps"):
            grad_cam(twin.module, x, y)
        return
    found, _ = feature_maps(twin.module, x.requires_grad_())
    channels, side = maps
    assert found.shape == (2, channels, side, side)
    assert grad_cam(twin.module, x, y).shape == (2, size, size)


# --- against RobustBench --------------------------------------------------------------------------


def _preact_resnet18() -> nn.Module:
    theirs = robustbench("resnet")
    network: nn.Module = theirs.PreActResNet(
        theirs.PreActBlock, [2, 2, 2, 2], 3, bn_before_fc=True, out_shortcut=True
    )
    return network


def _wide_resnet(depth: int) -> nn.Module:
    network: nn.Module = robustbench("wide_resnet").WideResNet(depth, 3, widen_factor=10)
    return network


@pytest.mark.parametrize(
    ("architecture", "theirs"),
    [
        ("preact_resnet18", _preact_resnet18),
        ("wide_resnet28_10", lambda: _wide_resnet(28)),
        ("wide_resnet34_10", lambda: _wide_resnet(34)),
    ],
)
def test_it_is_that_of_robustbench_whose_weights_fit(
    architecture: str, theirs: Callable[[], nn.Module]
) -> None:
    ours = seeded(architecture, 32).get_submodule("1").train()
    x, y = images(32), torch.tensor([0, 2])
    with torch.random.fork_rng(devices=[]):
        reference = theirs().train()
    reference(x)  # moves the running statistics
    ours.load_state_dict(reference.state_dict())
    gradients = []
    for network in (reference.eval(), ours.eval()):
        pixels = x.clone().requires_grad_()
        answers = network(pixels)
        F.cross_entropy(answers, y).backward()
        parameters = [p.grad for _, p in sorted(network.named_parameters())]
        gradients.append([answers.detach(), pixels.grad, *parameters])
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "size", "last_batch", "said"),
    [
        ("alexnet", 32, 64, "'alexnet' is not allowed for images of 32 px"),
        ("vit_b_16", 40, 64, "'vit_b_16' is not allowed for images of 40 px"),
        ("densenet121", 32, 1, "'densenet121' is not allowed for images of 32 px and a last batch"),
    ],
)
def test_a_size_that_it_does_not_take_is_refused(
    architecture: str, size: int, last_batch: int, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        require_trainable(spec(architecture, size), last_batch)
    assert f"architecture: {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_size_that_it_takes_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    require_trainable(spec("densenet121", 32), last_batch=2)
    assert torch.equal(torch.rand(4), expected)
