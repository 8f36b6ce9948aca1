"""Weights for architectures by name: this project's, torchvision's, timm's, RobustBench's, own."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from foreign_networks import CLASSES, SPEC, given, images, seeded, taken
from robustbench_files import robustbench
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.images.pixels import to_pixels
from atcore.networks.architecture import PROGRAM
from atcore.networks.folding import load_folded
from atcore.networks.models import bare

MEAN, STD = SPEC.mean, SPEC.std


def random(build: Callable[[], nn.Module]) -> nn.Module:
    """With random weights in all layers, also those that begin with zeros."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = build()
        for parameter in network.parameters():
            if parameter.dim() == 2 and not parameter.any():
                parameter.normal_(std=0.1)
    return network.eval()


def normalised(size: int) -> Tensor:
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    return (to_pixels(images(size=size)) - mean) / std


@pytest.mark.parametrize(
    ("architecture", "build", "size", "said", "architecture_of_spec"),
    [
        pytest.param(
            "resnet18",
            lambda: bare("resnet18", 3, 32),
            32,
            "resnet18 (torchvision)",
            "resnet18",
            id="resnet18 with a stem for small images",
        ),
        pytest.param(
            "resnet18",
            lambda: bare("resnet18", 3, 224),
            32,
            "resnet18 (torchvision) with ImageNet's stem",
            PROGRAM,
            id="resnet18 with ImageNet's stem",
        ),
        pytest.param(
            "resnet18",
            lambda: bare("resnet18", 3, 32),
            64,
            "resnet18 (torchvision) with a small image's stem",
            PROGRAM,
            id="resnet18 with a stem for small images at 64 px",
        ),
        pytest.param(
            "mobilenet_v3_small",
            lambda: bare("mobilenet_v3_small", 3, 32),
            32,
            "mobilenet_v3_small (torchvision)",
            "mobilenet_v3_small",
            id="mobilenet_v3_small",
        ),
        pytest.param(
            "mnasnet0_5",
            lambda: bare("mnasnet0_5", 3, 32),
            32,
            "mnasnet0_5 (torchvision)",
            "mnasnet0_5",
            id="mnasnet0_5",
        ),
        pytest.param(
            "preact_resnet18",
            lambda: robustbench("resnet").PreActResNet(
                robustbench("resnet").PreActBlock, [2, 2, 2, 2], 3, True, True
            ),
            32,
            "preact_resnet18 (this project)",
            "preact_resnet18",
            id="preact_resnet18 of RobustBench",
        ),
        pytest.param(
            "preact_resnet18",
            lambda: robustbench("resnet").PreActResNet(
                robustbench("resnet").PreActBlock, [2, 2, 2, 2], 3
            ),
            32,
            "preact_resnet18 (this project) as RobustBench has it by default",
            PROGRAM,
            id="preact_resnet18 of RobustBench by default",
        ),
        pytest.param(
            "wide_resnet28_10",
            lambda: robustbench("wide_resnet").WideResNet(28, 3, widen_factor=10),
            32,
            "wide_resnet28_10 (this project)",
            "wide_resnet28_10",
            id="wide_resnet28_10 of RobustBench",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "timm/resnet10t",
            lambda: __import__("timm").create_model("resnet10t", num_classes=3),
            32,
            "resnet10t (timm)",
            PROGRAM,
            id="resnet10t of timm",
        ),
        pytest.param(
            "timm/vit_tiny_patch16_224",
            lambda: __import__("timm").create_model(
                "vit_tiny_patch16_224", num_classes=3, img_size=32
            ),
            32,
            "vit_tiny_patch16_224 (timm)",
            PROGRAM,
            id="a transformer of timm",
        ),
    ],
)
def test_weights_answer_as_the_network_they_were_saved_from(
    tmp_path: Path,
    architecture: str,
    build: Callable[[], nn.Module],
    size: int,
    said: str,
    architecture_of_spec: str,
) -> None:
    network = random(build)
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    found = taken(given(tmp_path, architecture, mean=MEAN, std=STD), size=size)
    assert found.facts.architecture == said
    assert found.facts.parameters == sum(p.numel() for p in network.parameters())
    assert found.spec.architecture == architecture_of_spec
    folded = load_folded(found.spec, found.weights, "cpu")
    with torch.no_grad():
        expected = network(normalised(size))
        torch.testing.assert_close(
            folded(to_pixels(images(size=size))),
            expected,
            rtol=1e-4,
            atol=1e-4 * float(expected.abs().max()),
        )


def test_further_classifiers_of_training_are_left_out(tmp_path: Path) -> None:
    import torchvision  # noqa: PLC0415

    network = random(
        lambda: torchvision.models.googlenet(num_classes=3, aux_logits=True, init_weights=True)
    )
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    found = taken(given(tmp_path, "googlenet", mean=MEAN, std=STD), size=64)
    assert found.spec.architecture == "googlenet"
    assert any("aux1, aux2" in remark for remark in found.facts.remarks)


# --- code of the user's ---------------------------------------------------------------------------

OWN = """
from torch import nn

def network(classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, classes))
"""


def own() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


DATACLASS = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn

@dataclass
class Sizes:
    width: int = 4

def network(classes):
    width = Sizes().width
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, classes))
"""


@pytest.mark.parametrize("code", [OWN, DATACLASS])
def test_code_of_the_users_builds_the_network(tmp_path: Path, code: str) -> None:
    network = random(own)
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    (tmp_path / "mine.py").write_text(code)
    found = taken(given(tmp_path, "own", mean=MEAN, std=STD))
    assert found.facts.architecture == f"{tmp_path}/mine.py"
    with torch.no_grad():
        torch.testing.assert_close(
            load_folded(found.spec, found.weights, "cpu")(to_pixels(images())),
            network(normalised(32)),
        )


LAZY = """
from torch import nn

def network(classes):
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(),
                         nn.LazyLinear(classes))
"""


def test_code_of_the_users_may_leave_sizes_to_the_first_images(tmp_path: Path) -> None:
    network = random(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 900, 3)
        )
    )
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    (tmp_path / "mine.py").write_text(LAZY)
    found = taken(given(tmp_path, "own", mean=MEAN, std=STD))
    with torch.no_grad():
        torch.testing.assert_close(
            load_folded(found.spec, found.weights, "cpu")(to_pixels(images())),
            network(normalised(32)),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "no such file"),
        ("def network(classes:", "SyntaxError"),
        ("", "AttributeError: .* no attribute 'network'"),
        ("def network(classes):\n    return 1 / 0", "ZeroDivisionError: division by zero"),
        (
            "def network(classes):\n    return 3",
            r"network\(3\) gives a int, not a torch\.nn\.Module",
        ),
    ],
)
def test_code_that_builds_none_is_refused_by_its_file(
    tmp_path: Path, code: str | None, said: str
) -> None:
    torch.save(random(own).state_dict(), tmp_path / "mine.pth")
    if code is not None:
        (tmp_path / "mine.py").write_text(code)
    with pytest.raises(UserError, match=rf"mine\.py: {said}") as caught:
        taken(given(tmp_path, "own", mean=MEAN, std=STD))
    assert "\n" not in str(caught.value)


def test_code_that_fails_leaves_no_module(tmp_path: Path) -> None:
    torch.save(random(own).state_dict(), tmp_path / "failing.pth")
    (tmp_path / "failing.py").write_text("1 / 0")
    with pytest.raises(UserError, match="ZeroDivisionError"):
        taken(replace(given(tmp_path, "own", mean=MEAN, std=STD), name="failing"))
    assert "network_failing" not in sys.modules


def test_code_that_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    deciding = """
from torch import nn

class Deciding(nn.Linear):
    def forward(self, x):
        x = super().forward(x.mean((2, 3)))
        return x if x.sum() > 0 else -x

def network(classes):
    return Deciding(3, classes)
"""
    torch.save(nn.Linear(3, 3).state_dict(), tmp_path / "mine.pth")
    (tmp_path / "mine.py").write_text(deciding)
    with pytest.raises(UserError, match=r"mine\.pth: torch\.export cannot record it") as caught:
        taken(given(tmp_path, "own", mean=MEAN, std=STD))
    assert "\n" not in str(caught.value)


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("resnet81", r"'resnet81' is neither of this project nor of torchvision; near: resnet18"),
        ("timm/resnet10", r"timm has no 'resnet10'; near: resnet10t"),
    ],
)
def test_an_unknown_architecture_is_refused_with_those_near_it(
    tmp_path: Path, architecture: str, said: str
) -> None:
    torch.save(random(own).state_dict(), tmp_path / "mine.pth")
    with pytest.raises(UserError, match=rf"network\.mine\.architecture: {said}"):
        taken(given(tmp_path, architecture, mean=MEAN, std=STD))


def test_without_timm_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(random(own).state_dict(), tmp_path / "mine.pth")
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UserError, match=r"timm/resnet10t needs a package: .*pip install timm"):
        taken(given(tmp_path, "timm/resnet10t", mean=MEAN, std=STD))


def test_weights_of_another_architecture_are_refused_with_the_one_they_fit(tmp_path: Path) -> None:
    torch.save(random(lambda: bare("resnet34", 5, 32)).state_dict(), tmp_path / "mine.pth")
    with pytest.raises(UserError) as caught:
        taken(given(tmp_path, "resnet18", mean=MEAN, std=STD))
    said = str(caught.value)
    assert said.startswith("network.mine.architecture: the weights of mine.pth are not those of ")
    unexpected = "layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias and "
    assert f"unexpected: {unexpected}" in said
    assert "they fit resnet34 (torchvision)" in said
    assert "\n" not in said


def test_weights_of_no_architecture_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    torch.save(random(own).state_dict(), tmp_path / "mine.pth")
    with pytest.raises(UserError) as caught:
        taken(given(tmp_path, "small", mean=MEAN, std=STD))
    said = str(caught.value)
    assert "missing: 1.first.0.weight, 1.first.1.weight, 1.first.1.bias and " in said
    assert "unexpected: 0.weight, 0.bias, 4.weight and 1 more" in said
    assert "no architecture of this project or torchvision fits" in said


def test_another_number_of_outputs_is_refused_with_the_key_that_names_them(tmp_path: Path) -> None:
    torch.save(random(lambda: bare("resnet18", 5, 32)).state_dict(), tmp_path / "mine.pth")
    with pytest.raises(UserError, match=r"network\.mine\.classes: mine\.pth has 5 outputs.* 3"):
        taken(given(tmp_path, "resnet18", mean=MEAN, std=STD))


def test_weights_for_another_size_are_refused_with_the_size_they_take(tmp_path: Path) -> None:
    import timm  # noqa: PLC0415

    network = random(lambda: timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64))
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    described = given(tmp_path, "timm/vit_tiny_patch16_224", mean=MEAN, std=STD)
    with pytest.raises(UserError, match=r"input_size: mine\.pth is for images of 64 px, not of 32"):
        taken(described)
    found = taken(given(tmp_path, "timm/vit_tiny_patch16_224", mean=MEAN, std=STD, input_size=64))
    assert "Images are resized to 64 px inside it." in found.facts.remarks
    assert found.spec.classes == CLASSES
    assert found.spec.image_size == 32


def test_a_network_for_larger_images_is_refused_with_the_key_that_resizes(tmp_path: Path) -> None:
    torch.save(random(lambda: bare("squeezenet1_1", 3, 64)).state_dict(), tmp_path / "mine.pth")
    described = given(tmp_path, "squeezenet1_1", mean=MEAN, std=STD)
    with pytest.raises(UserError, match=r"mine\.pth: takes no images of 16 px .* input_size"):
        taken(described, size=16)
    assert taken(replace(described, input_size=64), size=16).spec.image_size == 16


def test_a_size_at_which_none_can_be_built_is_refused(tmp_path: Path) -> None:
    torch.save(random(own).state_dict(), tmp_path / "mine.pth")
    said = r"architecture: vit_b_16 \(torchvision\) is not for images of 40 px .*input_size"
    with pytest.raises(UserError, match=said):
        taken(given(tmp_path, "vit_b_16", mean=MEAN, std=STD), size=40)


def test_the_random_numbers_of_others_are_left_alone(tmp_path: Path) -> None:
    torch.save(seeded().state_dict(), tmp_path / "mine.pth")
    before = torch.get_rng_state()
    taken(given(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)
