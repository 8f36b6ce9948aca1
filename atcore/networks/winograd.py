"""Convolutions of 3 x 3 in fewer multiplications, for frozen networks on a CPU.

Lavin & Gray 2016, arXiv 1509.09308, section 4.1: F(2 x 2, 3 x 3) takes 16 products for a square of
four places where the sums take 36, and additions that matter less the more channels there are. On
one AVX2 core it is 2.3 times as fast as oneDNN's sums with 512 channels at 4 x 4 places and 1.2
times with 256 at 8 x 8, but slower with 128. The results are more precise than sums taken term by
term; oneDNN takes them in blocks, with 0.4 to 2 times the error of these, depending on the layout.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Fewer do not outweigh the additions.
_CHANNELS = 256
# What a row, or a column, of a kernel becomes (G of eq. 10); of both together 16 x 9.
_LINE = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_KERNEL = torch.kron(_LINE, _LINE)
# Where the four lines go. Those of a mirrored kernel are those of the kernel in another order, so
# that kernels transformed once serve the gradient too.
_STRAIGHT, _MIRRORED = (0, 1, 2, 3), (3, 1, 2, 0)


def _spread(lines: Iterable[Tensor], into: Iterable[Tensor]) -> None:
    """Write the transform of four lines of the input (B of eq. 10)."""
    (a, b, c, d), (first, second, third, fourth) = lines, into
    torch.sub(a, c, out=first)
    torch.add(b, c, out=second)
    torch.sub(c, b, out=third)
    torch.sub(b, d, out=fourth)


def _gather(lines: Iterable[Tensor], into: Iterable[Tensor]) -> None:
    """Write the two lines of the output that four lines of products are for (A of eq. 10)."""
    (a, b, c, d), (first, second) = lines, into
    both = b + c
    torch.add(a, both, out=first)
    torch.sub(b, c, out=both)
    torch.sub(both, d, out=second)


def _convolved(x: Tensor, kernels: Tensor, order: Sequence[int]) -> Tensor:
    """N x outputs x H x W of N x inputs x H x W and transformed kernels, 16 x inputs x outputs.

    No view of another tensor: what comes next may change it in place.
    """
    n, inputs, height, width = x.shape
    down, across = (height + 1) // 2, (width + 1) // 2
    around = (0, 0, 1, 2 * across - width + 1, 1, 2 * down - height + 1)
    padded = F.pad(x.permute(0, 2, 3, 1), around)
    rows = padded.new_empty(4, n, down, 2 * across + 2, inputs)
    _spread((padded[:, i : i + 2 * down : 2] for i in range(4)), (rows[i] for i in order))
    squares = padded.new_empty(4, 4, n, down, across, inputs)
    columns = (rows[:, :, :, i : i + 2 * across : 2] for i in range(4))
    _spread(columns, (squares[:, i] for i in order))
    products = torch.bmm(squares.view(16, -1, inputs), kernels).view(4, 4, n, down, across, -1)
    halves = products.new_empty(2, *products.shape[1:])
    _gather((products[i] for i in order), halves)
    whole = (n, products.shape[-1], 2 * down, 2 * across)
    result = torch.empty(whole, memory_format=torch.channels_last)
    places = result.permute(0, 2, 3, 1).view(n, down, 2, across, 2, -1).permute(2, 4, 0, 1, 3, 5)
    _gather((halves[:, i] for i in order), (places[:, 0], places[:, 1]))
    if whole[2:] == (height, width):
        return result
    return result[:, :, :height, :width].clone(memory_format=torch.channels_last)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(kernels)
        return _convolved(x, kernels.transpose(1, 2), _STRAIGHT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kernels,) = ctx.saved_tensors
        return _convolved(gradient, kernels, _MIRRORED), None


def worthwhile(
    weight: Tensor, stride: Sequence[int], padding: str | Sequence[int], dilation: Sequence[int]
) -> bool:
    """Whether a convolution of one group is faster this way.

    Args:
        weight: outputs x inputs x height x width.
        padding: with zeros.
    """
    return (
        weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= _CHANNELS
        and tuple(stride) == tuple(dilation) == (1, 1)
        and (padding == "same" or tuple(padding) == (1, 1))
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
    )


class Winograd(nn.Module):
    """A convolution with the parameters of another one, as they were at the last `refresh`.

    Float32 N x inputs x H x W to N x outputs x H x W, zero-padded by one; differentiable in its
    input alone.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self._kernels = torch.empty(0)

    def refresh(self) -> None:
        """Transform the present kernels."""
        lines = self.weight.detach().permute(0, 2, 3, 1).flatten(1, 2)
        self._kernels = torch.matmul(_KERNEL, lines).transpose(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = _Convolution.apply(x, self._kernels)
        return found if self.bias is None else found + self.bias.view(-1, 1, 1)
