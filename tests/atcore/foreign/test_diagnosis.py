"""What is said of the answers to clean images, and what would mend them where they are chance."""

from collections.abc import Callable

import pytest
import torch
from foreign_networks import CLASSES
from torch import Tensor, nn

from atcore.foreign.diagnosis import remark
from atcore.foreign.found import Normalisation
from atcore.networks.models import normalising
from atcore.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD

COLOURS = torch.tensor([[0.55, 0.45, 0.40], [0.45, 0.55, 0.40], [0.45, 0.45, 0.52]])
LABELS = torch.arange(120) % 3
IMAGENET: Normalisation = (IMAGENET_MEAN, IMAGENET_STD)


def images() -> Tensor:
    """uint8 N x 8 x 8 x 3: noise around the colour of the class."""
    noise = torch.randn(len(LABELS), 8, 8, 3, generator=torch.Generator().manual_seed(0))
    pixels = (COLOURS[LABELS][:, None, None] + 0.1 * noise).clamp(0, 1)
    return pixels.mul(255).round().byte()


class Nearest(nn.Module):
    """Answers the class whose colour is near, of pixels as `seen` makes them of [0, 1].

    Where none is near it answers the first class.
    """

    def __init__(self, seen: Callable[[Tensor], Tensor], order: list[int] | None = None) -> None:
        super().__init__()
        self.colours = seen(COLOURS[:, :, None, None])[:, :, 0, 0]
        self.order = order or [0, 1, 2]

    def forward(self, x: Tensor) -> Tensor:
        distances = (x.mean((2, 3))[:, None] - self.colours).norm(dim=2)
        near = (self.colours[0] - self.colours[1]).norm() / 2
        return (1 - distances / near).relu()[:, self.order]


def normalised(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in IMAGENET)
    return (x - mean) / std


def said(
    network: nn.Module,
    normalisation: Normalisation | None = None,
    names: tuple[str, ...] | None = CLASSES,
    labels: Tensor = LABELS,
) -> str:
    if normalisation is not None:
        network = normalising(network, *normalisation)
    return remark(network, normalisation, names, images(), labels)


def test_a_network_that_answers_above_chance_is_said_to() -> None:
    found = said(Nearest(lambda x: x))
    expected = "It answers 100.0% of 120 clean validation images correctly (96.9% to 100.0%)."
    assert found == expected
    assert said(Nearest(normalised), IMAGENET) == expected


@pytest.mark.parametrize(
    ("seen", "normalisation", "mend"),
    [
        (
            normalised,
            None,
            "mean: [0.485, 0.456, 0.406] and std: [0.229, 0.224, 0.225] (ImageNet's)",
        ),
        (lambda x: x * 2 - 1, None, "mean: [0.5, 0.5, 0.5] and std: [0.5, 0.5, 0.5]"),
        (lambda x: x, IMAGENET, "mean: null and std: null, as it normalises pixels itself"),
        (lambda x: x * 255, None, "std: [0.003922, 0.003922, 0.003922] (pixels in [0, 255])"),
        (lambda x: x.flip(1), None, "channels in the order blue, green, red"),
        (lambda x: normalised(x).flip(1), None, "(ImageNet's) and with channels in the order blue"),
    ],
)
def test_the_cause_of_chance_is_named_with_the_accuracy_without_it(
    seen: Callable[[Tensor], Tensor], normalisation: Normalisation | None, mend: str
) -> None:
    found = said(Nearest(seen), normalisation)
    assert "which is chance. It would be 100.0% with " in found
    assert mend in found
    assert found.count(" and with ") == (1 if "and with" in mend else 0)


def test_another_order_of_the_classes_is_found() -> None:
    found = said(Nearest(lambda x: x, order=[1, 2, 0]))
    mend = "It would be 100.0% with classes: a file with the lines dog, eel, cat."
    assert found.endswith(mend)
    found = said(Nearest(normalised, order=[1, 2, 0]))
    assert "(ImageNet's) and with classes: a file with the lines dog, eel, cat." in found


def test_no_order_is_looked_for_where_outputs_are_named() -> None:
    found = said(Nearest(lambda x: x, order=[1, 2, 0]), names=None)
    assert "which is chance. No usual cause explains it" in found


def test_luck_is_no_mend() -> None:
    labels = torch.randint(3, (120,), generator=torch.Generator().manual_seed(1))
    assert "No usual cause explains it" in said(Nearest(lambda x: x), labels=labels)
