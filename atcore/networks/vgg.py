"""The layout of VGG-19 up to relu4_1 (Simonyan & Zisserman 2015, arXiv 1409.1556), at any width.

Layers are numbered as in torchvision's `vgg19().features`. Unlike there, borders are reflected:
zeros would put a frame into the statistics of a style (Huang & Belongie 2017, section 6.1).
"""

from torch import nn

# Convolutions of the four blocks; each block but the last ends in max pooling.
_BLOCKS = (2, 2, 4, 1)
# Channels of the network of the paper.
VGG19 = (64, 64, 128, 128, 256, 256, 256, 256, 512)
# Channels of a network that a CPU trains in minutes. relu4_1 has more values than a 64th of an
# image has, so that what is in the image can be in it.
NARROW = (16, 16, 32, 32, 64, 64, 64, 64, 256)


def _layers() -> list[str]:
    """What stands at each index of `features`."""
    layers: list[str] = []
    for convolutions in _BLOCKS:
        layers += ["pool"] if layers else []
        layers += ["conv", "relu"] * convolutions
    return layers


_LAYERS = _layers()
CONVOLUTIONS = tuple(index for index, layer in enumerate(_LAYERS) if layer == "conv")
# The first activation of each block: relu1_1, relu2_1, relu3_1, relu4_1.
OUTPUTS = tuple(index + 1 for index in CONVOLUTIONS if index == 0 or _LAYERS[index - 1] == "pool")
# A pixel of relu4_1 stands for so many of the image.
STRIDE = 2 ** _LAYERS.count("pool")


def features(widths: tuple[int, ...], *, normalised: bool) -> nn.Sequential:
    """The layers from the image to relu4_1.

    Args:
        widths: channels of the nine convolutions.
        normalised: whether a batch normalisation takes the place of each convolution's bias. It
            shares the convolution's index, so that the indices are the same with and without.
    """
    inputs, outputs = iter((3, *widths)), iter(widths)

    def convolution() -> nn.Module:
        channels = next(inputs), next(outputs)
        layer = nn.Conv2d(*channels, 3, padding=1, padding_mode="reflect", bias=not normalised)
        return nn.Sequential(layer, nn.BatchNorm2d(channels[1])) if normalised else layer

    other: dict[str, nn.Module] = {"relu": nn.ReLU(), "pool": nn.MaxPool2d(2)}
    return nn.Sequential(*(convolution() if layer == "conv" else other[layer] for layer in _LAYERS))
