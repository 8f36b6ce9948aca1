"""Style transfer as the variants see it: whose texture, and by which way.

`filtered` needs no weights; `atcore.stylizing.transfer` applies a trained stylizer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atcore.stylizing.styles import pictures

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


def read_styling(folder: Path | None, stylizer: Path | None, size: int, side: int) -> Styling:
    """How textures get into images.

    Args:
        folder: of the user's pictures; None draws procedural styles.
        stylizer: file of a trained one; None transfers without.
        size: side in pixels to which it enlarges smaller images.
        side: of the images in pixels.

    Raises:
        UserError: there is no picture in the folder, or something that is no readable picture.
    """
    if stylizer is None:
        return Styling(pictures=None if folder is None else pictures(folder, side))
    # Two seconds that the variants without a stylizer save in each of their processes.
    from atcore.stylizing.adain import working_side  # noqa: PLC0415
    from atcore.stylizing.transfer import Adain  # noqa: PLC0415

    working = working_side(side, size)
    return Styling(
        transfer=Adain(stylizer.read_bytes(), str(stylizer), size),
        pictures=None if folder is None else pictures(folder, working),
        side=working,
    )
