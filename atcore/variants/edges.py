"""Edges: dark lines on white where the colour changes; shape stays, colour and shading go.

The magnitude of the Sobel gradient, root mean square over the channels, after a Gaussian blur of
the level's sigma in pixels. Each image is scaled by its strongest edge, so lines do not depend on
the image's contrast. Texture fades as far as it is fainter or finer than the outlines: more blur
leaves less of it. Not the gradient of the luminance: that one loses the outline of a figure as
bright as its ground and shows texture instead.
"""

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.images.filters import gaussian, sobel

# Gradient of a step of one grey level: what is fainter is no edge, and a flat image stays white.
_FAINTEST = 4.0
# A narrower Gaussian has, in float32, no weight beyond its own pixel.
_NARROWEST = 0.05


def draw(images: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """The edges of uint8 N x H x W x 3, as grey images of the same form.

    Args:
        sigma: 0 pixels to the side of the images.

    Raises:
        UserError: it is more than that.
    """
    side = min(images.shape[1:3])
    if sigma > side:
        raise UserError(
            f"level sigma = {sigma:g} is not allowed for images of {side} px; give sigma <= {side}"
        )
    values = images.astype(np.float32)
    magnitude = sobel(gaussian(values, sigma) if sigma > _NARROWEST else values)
    strongest = np.maximum(magnitude.max((1, 2), keepdims=True), _FAINTEST)
    lines = np.rint(255 * (1 - magnitude / strongest)).astype(np.uint8)
    return lines[..., None].repeat(3, axis=-1)
