"""What the file of a network has been understood to be."""

from dataclasses import dataclass

from torch import nn

from atcore.images.pixels import Channels

# Mean and standard deviation per channel, scale [0, 1].
Normalisation = tuple[Channels, Channels]


@dataclass(frozen=True)
class Found:
    """A network as its file has it.

    Attributes:
        network: float32 N x 3 x size x size, normalised where `normalisation` is given, to what it
            answers; in eval mode, frozen.
        label: its architecture, as a reader knows it.
        size: side in pixels of the images that it takes.
        normalisation: mean and standard deviation that pixels are to be normalised with before.
        classes: names of the outputs, where the file has them.
        remarks: sentences on what was found.
        ours: the name by which this project builds it for images of the dataset's size.
        program: the content of the file, where that is a program.
    """

    network: nn.Module
    label: str
    size: int
    normalisation: Normalisation | None
    classes: tuple[str, ...] | None
    remarks: tuple[str, ...]
    ours: str | None = None
    program: bytes | None = None
