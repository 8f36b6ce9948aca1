"""Style transfer as the variants see it: whose texture, and by which way.

`filtered` needs no weights; `atcore.stylizing.transfer` applies a trained stylizer.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


class Transfer(Protocol):
    """Gives each content image, N x S x S x 3, the look of the style image in the same place.

    What an image becomes depends on nothing but itself, its style and the strength.
    """

    def __call__(self, contents: Images, styles: Images, strength: float) -> Images: ...


@dataclass(frozen=True)
class Styling:
    """How a variant puts other textures into images.

    Attributes:
        transfer: None transfers without a trained network, and draws a cue conflict exactly where
            the images' generator can.
        pictures: the user's, as `styles.pictures` gives them; None draws procedural styles.
        side: of a style in pixels; None: as the images.
    """

    transfer: Transfer | None = None
    pictures: Images | None = None
    side: int | None = None


UNTRAINED = Styling()
