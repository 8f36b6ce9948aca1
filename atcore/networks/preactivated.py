"""Residual networks that normalise before they convolve, as the field trains them at 32 px.

Parameters are called as in RobustBench, so that its checkpoints fit.
"""

from collections import OrderedDict

from torch import Tensor, nn

from atcore.networks.averaging import GlobalAverage


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class _Block(nn.Module):
    """Two convolutions, each after a normalisation and a ReLU, beside a shortcut.

    Where the shape changes, the shortcut is a convolution of what the first ReLU gives.

    Args:
        shortcut: the name of that convolution; with a dot, of a sequence and its position there.
        raw: whether it is of the block's input instead.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, shortcut: str, raw: bool = False
    ) -> None:
        super().__init__()
        self._raw = raw
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = _conv(inputs, outputs, 3, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs, 3)
        self._shortcut = None
        if inputs != outputs or stride > 1:
            self._shortcut, _, place = shortcut.partition(".")
            conv: nn.Module = _conv(inputs, outputs, 1, stride)
            self.add_module(self._shortcut, nn.Sequential(conv) if place else conv)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.bn1(x).relu()
        residual = self.conv2(self.bn2(self.conv1(activated)).relu())
        if self._shortcut is not None:
            x = self.get_submodule(self._shortcut)(x if self._raw else activated)
        sum_: Tensor = x + residual
        return sum_


def _stage(
    inputs: int, outputs: int, blocks: int, stride: int, shortcut: str, raw: bool = False
) -> nn.Sequential:
    first = _Block(inputs, outputs, stride, shortcut, raw)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)))


def _initialised(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return network


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def preact_resnet18(classes: int, *, older: bool = False) -> nn.Module:
    """Pre-activation ResNet-18 (He et al. 2016, *Identity Mappings*), without a stem that shrinks.

    Takes N x 3 x H x W of any size; its last feature maps have an eighth of the side.

    Args:
        older: as RobustBench has it by default, after kuangliu's `pytorch-cifar`: shortcuts are of
            the blocks' inputs, and nothing normalises what the last block gives.
    """
    widths = (64, 64, 128, 256, 512)
    stages = {
        f"layer{i}": _stage(widths[i - 1], widths[i], 2, 1 if i == 1 else 2, "shortcut.0", older)
        for i in range(1, 5)
    }
    last = {} if older else {"bn": nn.BatchNorm2d(512), "relu": nn.ReLU()}
    return _initialised(
        _named(
            conv1=_conv(3, 64, 3),
            **stages,
            **last,
            pool=GlobalAverage(),
            flatten=nn.Flatten(),
            linear=nn.Linear(512, classes),
        )
    )


def wide_resnet(classes: int, depth: int, width: int) -> nn.Module:
    """Wide ResNet (Zagoruyko & Komodakis 2016), of `depth` layers: 28, 34, ..., 6 n + 4.

    Takes N x 3 x H x W of any size; its last feature maps have a quarter of the side.
    """
    blocks = (depth - 4) // 6
    widths = (16, 16 * width, 32 * width, 64 * width)
    stages = {
        f"block{i}": _named(
            layer=_stage(widths[i - 1], widths[i], blocks, 1 if i == 1 else 2, "convShortcut")
        )
        for i in range(1, 4)
    }
    return _initialised(
        _named(
            conv1=_conv(3, 16, 3),
            **stages,
            bn1=nn.BatchNorm2d(widths[3]),
            relu=nn.ReLU(),
            pool=GlobalAverage(),
            flatten=nn.Flatten(),
            fc=nn.Linear(widths[3], classes),
        )
    )
