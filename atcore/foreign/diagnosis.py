"""How well a network answers clean images, and where by chance only, what would mend that."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from atcore.foreign.found import Normalisation
from atcore.images.pixels import Channels, channel_statistics, to_pixels
from atcore.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD
from atcore.statistics.proportions import Proportion

_AT_ONCE = 64
_NONE: Normalisation = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_HALVES: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_BYTES: Normalisation = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
_TURNED = "channels in the order blue, green, red (export it with x.flip(1) before the network)"

# By the position of a class the output that stands for it.
Order = NDArray[np.intp]


def _answers(network: nn.Module, pixels: Tensor) -> NDArray[np.intp]:
    with torch.no_grad():
        return torch.cat([network(x).argmax(dim=1) for x in pixels.split(_AT_ONCE)]).numpy()


def _matching(answers: NDArray[np.intp], labels: NDArray[np.intp], classes: int) -> Order:
    """The order of classes in which most answers are right, one output for each."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, answers), 1)
    _, order = linear_sum_assignment(-counts)
    return order


def _in_another_order(
    answers: NDArray[np.intp], labels: NDArray[np.intp], classes: int
) -> tuple[Order, Proportion]:
    """The order of all images, and the accuracy on each half in that of the other half."""
    halves = np.arange(len(labels)) // 2 % 2  # not every second one: labels may alternate
    hits = np.zeros(len(labels), dtype=bool)
    for half in (0, 1):
        there, here = halves != half, halves == half
        order = _matching(answers[there], labels[there], classes)
        hits[here] = order[labels[here]] == answers[here]
    return _matching(answers, labels, classes), Proportion(int(hits.sum()), len(hits))


def _tensor(values: Channels) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


def _numbers(values: Channels) -> str:
    return f"[{', '.join(f'{value:.4g}' for value in values)}]"


@dataclass(frozen=True)
class _Mend:
    accuracy: Proportion
    changes: tuple[str, ...]


def _inputs(
    pixels: Tensor, normalisation: Normalisation | None
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """What else the network might want for pixels, each with the changes that give it that."""
    yield (), pixels
    yield (_TURNED,), pixels.flip(1)
    named = {
        "ImageNet's": (IMAGENET_MEAN, IMAGENET_STD),
        "the dataset's": channel_statistics([pixels.permute(0, 2, 3, 1).mul(255).byte()]),
        "pixels in [-1, 1]": _HALVES,
        "pixels in [0, 255]": _BYTES,
    }
    wanted = {
        f"mean: {_numbers(mean)} and std: {_numbers(std)} ({whose})": (mean, std)
        for whose, (mean, std) in named.items()
    }
    if normalisation is not None:
        wanted["mean: null and std: null, as it normalises pixels itself"] = _NONE
    for said, (mean, std) in wanted.items():
        normalised = (pixels - _tensor(mean)) / _tensor(std)
        for turned in (False, True):
            x = normalised.flip(1) if turned else normalised
            if normalisation is not None:  # taken back, as the network does it first
                x = x * _tensor(normalisation[1]) + _tensor(normalisation[0])
            yield (said, _TURNED) if turned else (said,), x


def remark(
    network: nn.Module,
    normalisation: Normalisation | None,
    names: tuple[str, ...] | None,
    images: Tensor,
    labels: Tensor,
) -> str:
    """The accuracy on clean images, and if that is chance what would mend it, if anything does.

    Tried are other normalisations, channels in the order blue, green, red, and another order of the
    classes, which is found on one half of the images and counted on the other. A mend has an
    interval above that of the network as it is and above chance, which is the most frequent class.

    Args:
        network: float32 N x 3 x H x W in [0, 1] to N x classes logits, as it was taken in.
        normalisation: what it begins with by params.yaml or its file.
        names: of its outputs, if these are taken for the classes in order.
        images: uint8, N x H x W x 3.
        labels: int64, N.
    """
    truth, pixels = labels.numpy().astype(np.intp), to_pixels(images)
    answers = _answers(network, pixels)
    accuracy = Proportion(int((answers == truth).sum()), len(truth))
    low, high = accuracy.interval
    found = (
        f"It answers {accuracy.value:.1%} of {accuracy.n} clean validation images correctly "
        f"({low:.1%} to {high:.1%})"
    )
    chance = float(np.bincount(truth).max()) / len(truth)
    if low > chance:
        return f"{found}."
    mends: list[_Mend] = []
    for changes, x in _inputs(pixels, normalisation):
        answers = _answers(network, x)
        mends.append(_Mend(Proportion(int((answers == truth).sum()), len(truth)), changes))
        if names is not None:
            order, ordered = _in_another_order(answers, truth, len(names))
            listed = ", ".join(names[i] for i in np.argsort(order))
            said = f"classes: a file with the lines {listed}"
            mends.append(_Mend(ordered, (*changes, said)))
    better = [mend for mend in mends if mend.accuracy.interval[0] > max(high, chance)]
    if not better:
        return (
            f"{found}, which is chance. No usual cause explains it: normalisation missing or "
            "doubled, channels in the order blue, green, red, pixels in [0, 255], classes in "
            "another order."
        )
    best = max(better, key=lambda mend: (mend.accuracy.value, -len(mend.changes)))
    return (
        f"{found}, which is chance. It would be {best.accuracy.value:.1%} with "
        f"{' and with '.join(best.changes)}."
    )
