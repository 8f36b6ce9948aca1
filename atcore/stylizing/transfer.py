"""Style transfer by a trained stylizer (Huang & Belongie 2017; see `atcore.stylizing.adain`)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from atcore.images.pixels import to_pixels
from atcore.stylizing.adain import load_stylizer, resized, working_side


@dataclass(frozen=True)
class Adain:
    """A `Transfer` whose strength is alpha, 0 to 1.

    Attributes:
        weights: of a stylizer, in safetensors format.
        source: what messages call them.
        size: images are enlarged to this side in pixels, stylized, and reduced again.
    """

    weights: bytes
    source: str
    size: int

    def __call__(
        self, contents: NDArray[np.uint8], styles: NDArray[np.uint8], strength: float
    ) -> NDArray[np.uint8]:
        """One image at a time and on one thread, so that no other image has a part in the sums."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(1)
        stylizer = load_stylizer(self.weights, self.source, device)
        side = contents.shape[1]
        working = working_side(side, self.size)
        results = []
        with torch.inference_mode():
            for pair in zip(contents, styles, strict=True):
                content, style = (
                    resized(to_pixels(torch.from_numpy(image[None]).to(device)), working)
                    for image in pair
                )
                result = resized(stylizer(content, style, strength), side).clamp(0, 1)
                pixels = (result[0] * 255).round().to(torch.uint8)
                results.append(pixels.permute(1, 2, 0).cpu().numpy())
        return np.stack(results)
