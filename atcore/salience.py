"""Salience maps: which pixels the score of the true class depends on.

All maps are of the label's logit, so that every model is asked the same question, and are the
magnitude of the gradient, the largest over the three channels.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atcore.evaluation import start_noise
from atcore.pixels import to_pixels

_COPIES_AT_ONCE = 20


def _input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    score = model(x).gather(1, y[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, x)
    return gradient


def _magnitude(gradient: Tensor) -> NDArray[np.float32]:
    return gradient.abs().amax(dim=1).cpu().numpy()


def gradient_map(model: nn.Module, x: Tensor, y: Tensor) -> NDArray[np.float32]:
    """Grad (Simonyan et al. 2014): float32 N x H x W, non-negative.

    Args:
        x: float32 N x 3 x H x W in [0, 1].
        y: int64, N, the class whose logit is explained.
    """
    return _magnitude(_input_gradient(model, x, y))


def smoothgrad_map(
    model: nn.Module, x: Tensor, y: Tensor, *, samples: int, noise: float, seed: int
) -> NDArray[np.float32]:
    """SmoothGrad (Smilkov et al. 2017, eq. 1): the mean gradient over noisy copies of the image.

    Args:
        samples: number of copies.
        noise: standard deviation, as a share of the image's value range.
        seed: of the noise; copy i gets the same noise for every image and model.

    Returns:
        float32 N x H x W, non-negative.
    """
    spread = x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3), keepdim=True)
    copies = start_noise(tuple(x.shape[1:]), np.arange(samples), "salience/noise", seed)
    total = torch.zeros_like(x)
    for some in copies.to(x.device).split(_COPIES_AT_ONCE):
        noisy = x + noise * spread * some[:, None]
        gradient = _input_gradient(model, noisy.flatten(0, 1), y.repeat(len(some)))
        total += gradient.view(noisy.shape).sum(dim=0)
    return _magnitude(total / samples)


def explain(
    model: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    *,
    samples: int,
    noise: float,
    seed: int,
    device: str,
) -> dict[str, NDArray[np.generic]]:
    """Both maps and the predicted classes of uint8 images N x H x W x 3.

    Returns:
        `gradient` and `smoothgrad` (float32 N x H x W) and `predicted` (int32 N).
    """
    x = to_pixels(torch.from_numpy(images.copy()).to(device))
    y = torch.from_numpy(labels.astype(np.int64)).to(device)
    with torch.no_grad():
        predicted = model(x).argmax(dim=1).cpu().numpy().astype(np.int32)
    return {
        "gradient": gradient_map(model, x, y),
        "smoothgrad": smoothgrad_map(model, x, y, samples=samples, noise=noise, seed=seed),
        "predicted": predicted,
    }
