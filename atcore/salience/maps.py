"""Salience maps: which pixels the score of the true class depends on.

All maps are of the label's logit, so that every model is asked the same question; none is
negative. Those that have a value for each channel are its magnitude, the largest over the three
channels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atcore.base.rng import start_noise
from atcore.images.pixels import Channels
from atcore.networks.models import pooling

# Images of one forward and backward pass. Fixed, as sums depend on it in their last digits.
_AT_ONCE = 128


def _input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    gradients = []
    for images, labels in zip(x.split(_AT_ONCE), y.split(_AT_ONCE), strict=True):
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
    for some in copies.to(x.device).split(max(1, _AT_ONCE // len(x))):
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
        internal_batch_size=max(_AT_ONCE, len(x)),
    )
    return _magnitude(found)


def grad_cam(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2) of the last feature maps.

    Bilinearly enlarged to the size of the image, so it is as coarse as they are: see
    `atcore.networks.models.pooling`. A map is zero where nothing speaks for the class.

    Args:
        model: a network of `atcore.networks.models`, folded or not.

    Returns:
        float32 N x H x W, non-negative.
    """
    from captum.attr import LayerGradCam  # noqa: PLC0415

    found = LayerGradCam(model, pooling(model)).attribute(
        x.detach().requires_grad_(),
        target=y,
        attribute_to_layer_input=True,
        relu_attributions=True,
    )
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
