"""Salience maps: which pixels the score of the true class depends on.

All maps are of the label's logit, so that every model is asked the same question; none is
negative. Those that have a value for each channel are its magnitude, the largest over the three
channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from atcore.base.errors import UserError
from atcore.base.rng import start_noise
from atcore.images.pixels import Channels

# Images of one forward and backward pass. Fixed, as sums depend on it in their last digits.
AT_ONCE = 128


def _input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    gradients = []
    for images, labels in zip(x.split(AT_ONCE), y.split(AT_ONCE), strict=True):
        pixels = images.detach().requires_grad_()
        score = model(pixels).gather(1, labels[:, None]).sum()
        gradients += torch.autograd.grad(score, pixels)
    return torch.cat(gradients)


def _magnitude(values: Tensor) -> Tensor:
    return values.detach().abs().amax(dim=1)


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Grad (Simonyan et al. 2014): float32 N x H x W, non-negative.

    Args:
        x: float32 N x 3 x H x W in [0, 1].
        y: int64, N, the class whose logit is explained.
    """
    return _magnitude(_input_gradient(model, x, y))


def smoothgrad(
    model: nn.Module, x: Tensor, y: Tensor, *, samples: int, noise: float, seed: int
) -> Tensor:
    """SmoothGrad (Smilkov et al. 2017, eq. 1): the mean gradient over noisy copies of the image.

    Args:
        samples: number of copies.
        noise: standard deviation, as a share of the image's value range.
        seed: of the noise; copy i gets the same noise for every image and model.

    Returns:
        float32 N x H x W, non-negative.
    """
    spread = x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3), keepdim=True)
    noise_of = start_noise(tuple(x.shape[1:]), np.arange(samples), "salience/noise", seed)
    copies = torch.from_numpy(noise_of)
    total = torch.zeros_like(x)
    for some in copies.to(x.device).split(max(1, AT_ONCE // len(x))):
        noisy = x + noise * spread * some[:, None]
        found = _input_gradient(model, noisy.flatten(0, 1), y.repeat(len(some)))
        total += found.view(noisy.shape).sum(dim=0)
    return _magnitude(total / samples)


def integrated_gradients(
    model: nn.Module, x: Tensor, y: Tensor, *, steps: int, baseline: Channels
) -> Tensor:
    """Integrated Gradients (Sundararajan et al. 2017, eq. 1), by Gauss-Legendre quadrature.

    Args:
        steps: points of the path from the baseline to the image where the gradient is taken.
        baseline: the colour of the image without information, [0, 1]. The mean colour of the
            training images says the least: of black, the usual one, no map can show a black object.

    Returns:
        float32 N x H x W, non-negative.
    """
    # A second that the processes without these maps save.
    from captum.attr import IntegratedGradients  # noqa: PLC0415

    start = torch.tensor(baseline, device=x.device).view(1, 3, 1, 1).expand_as(x)
    found = IntegratedGradients(model).attribute(
        x.detach().requires_grad_(),
        baselines=start,
        target=y,
        n_steps=steps,
        internal_batch_size=max(AT_ONCE, len(x)),
    )
    return _magnitude(found)


def _dims(args: tuple[Any, ...], given: dict[str, Any]) -> list[int]:
    """The dimensions that a call names after its tensor, one by one or as a list."""
    named = given.get("dim", args[1:])
    if isinstance(named, tuple) and named and isinstance(named[0], list | tuple):
        named = named[0]
    return [d for d in (named if isinstance(named, list | tuple) else [named]) if type(d) is int]


class _Pooled(TorchFunctionMode):
    """Keeps the feature maps that a network last averages over all places.

    By what is called, not by modules: some networks average by a function, some within their
    blocks too, and those folded have other modules than those they come from.

    Attributes:
        maps: N x C x H x W, or None where the network has averaged none, or goes on with others
            that it does not average.
    """

    maps: Tensor | None = None
    # What was last brought from N x C x H x W to N x H x W x C, N x C x HW or, averaged, N x C x H:
    # before, after, and over which dimensions there is still to average.
    _turned: tuple[Tensor, Tensor, set[int]] | None = None

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        x = args[0] if args else None
        if not isinstance(x, Tensor) or not isinstance(result, Tensor):
            return result
        name = getattr(func, "__name__", "").split(".")[0]
        dims = _dims(args, given)
        over = {d % x.dim() for d in dims} if name == "mean" else set()
        if x.dim() == 4 and (
            name == "adaptive_avg_pool2d"
            or (name == "avg_pool2d" and result.shape[2:] == (1, 1))
            or over == {2, 3}
        ):
            self.maps = x
        elif over and self._turned and x is self._turned[1] and over == self._turned[2]:
            self.maps = self._turned[0]
        elif result.dim() == 4 and (1, 1) not in (result.shape[1:3], result.shape[2:]):
            self.maps = None  # what was averaged before were maps within a block
        if name == "permute" and dims == [0, 2, 3, 1]:
            self._turned = x, result, {1, 2}
        elif (
            name in ("flatten", "view", "reshape", "mean")
            and x.dim() == 4
            and result.dim() == 3
            and x.shape[:2] == result.shape[:2]
        ):
            self._turned = x, result, {2}
        return result


def feature_maps(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last feature maps of a network, N x C x H x W, and its answers, N x classes.

    Those are what it averages over all places before it answers: with `small` a quarter of the
    image's side, with `resnet18` an eighth below 64 px and else a 32nd.

    Raises:
        UserError: it has none, as some transformers.
    """
    with _Pooled() as pooled:
        answers = model(x)
    if pooled.maps is None:
        raise UserError(
            "grad_cam: the network averages no feature maps; take grad_cam out of salience.measured"
        )
    return pooled.maps, answers


def grad_cam(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2) of the last feature maps.

    Bilinearly enlarged to the size of the image, so it is as coarse as they are: `feature_maps`.
    A map is zero where nothing speaks for the class.

    Returns:
        float32 N x H x W, non-negative.

    Raises:
        UserError: the network has no feature maps.
    """
    maps, answers = feature_maps(model, x.detach().requires_grad_())
    score = answers.gather(1, y[:, None]).sum()
    (gradients,) = torch.autograd.grad(score, maps)
    found = (gradients.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).relu()
    size = (x.shape[2], x.shape[3])
    return F.interpolate(found.detach(), size=size, mode="bilinear", align_corners=False)[:, 0]


@dataclass(frozen=True)
class MapSettings:
    """What the maps need beside a network and images.

    Attributes:
        samples, noise: of SmoothGrad.
        steps, baseline: of Integrated Gradients.
        seed: of SmoothGrad's noise.
    """

    samples: int
    noise: float
    steps: int
    baseline: Channels
    seed: int


# By the names of `salience.measured` in params.yaml.
MAPS: dict[str, Callable[[nn.Module, Tensor, Tensor, MapSettings], Tensor]] = {
    "gradient": lambda model, x, y, _: gradient(model, x, y),
    "smoothgrad": lambda model, x, y, s: smoothgrad(
        model, x, y, samples=s.samples, noise=s.noise, seed=s.seed
    ),
    "integrated_gradients": lambda model, x, y, s: integrated_gradients(
        model, x, y, steps=s.steps, baseline=s.baseline
    ),
    "grad_cam": lambda model, x, y, _: grad_cam(model, x, y),
}
