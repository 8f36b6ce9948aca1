"""Convolutions in fewer multiplications: the sums that torch computes, in both directions."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import FoldedTwin
from atcore.networks.models import build
from atcore.networks.winograd import Winograd


def of(convolution: nn.Conv2d) -> Winograd:
    own = Winograd(convolution.weight, convolution.bias)
    own.refresh()
    return own


def test_a_hand_made_kernel_moves_and_sums() -> None:
    # Each place becomes that to its left plus ten times that below, plus 100.
    convolution = nn.Conv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[[[0.0, 0, 0], [1, 0, 0], [0, 10, 0]]]]))
        convolution.bias = nn.Parameter(torch.tensor([100.0]))
    x = torch.tensor([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]])
    expected = torch.tensor([[[[140.0, 151, 162], [170, 184, 195], [100, 107, 108]]]])
    torch.testing.assert_close(of(convolution)(x), expected)


@given(
    images=st.integers(1, 2),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    channels_last=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_values_and_gradients_are_those_of_torch(
    *,
    images: int,
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    channels_last: bool,
    bias: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    form = torch.channels_last if channels_last else torch.contiguous_format
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias).to(memory_format=form)
    x = torch.randn(images, inputs, height, width).to(memory_format=form).requires_grad_()
    weight = torch.randn(images, outputs, height, width)

    def seen(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        # In place, as what follows a convolution in many networks.
        y = network(x).neg_()
        return y, torch.autograd.grad((y * weight.to(y.dtype)).sum(), x)[0]

    exact = seen(copy.deepcopy(convolution).double(), x.detach().double().requires_grad_())
    for found, value in zip(seen(of(convolution), x), exact, strict=True):
        torch.testing.assert_close(found.double(), value, rtol=0, atol=2e-5)


def test_wide_layers_are_more_precise_than_sums_taken_term_by_term() -> None:
    # Torch's own differ by five times among processors and layouts in memory.
    torch.manual_seed(0)
    convolution = nn.Conv2d(512, 512, 3, padding=1, bias=False)
    x = torch.randn(1, 512, 4, 4)
    terms, weights = F.unfold(x, 3, padding=1)[0], convolution.weight.detach().flatten(1)
    one_by_one = torch.zeros(512, 16)
    for term, weight in zip(terms, weights.T, strict=True):
        one_by_one += weight[:, None] * term
    exact = weights.double() @ terms.double()
    own = of(convolution)(x).detach().view(512, 16)
    errors = [(found - exact).square().mean().sqrt() for found in (own, one_by_one)]
    assert 1.5 * errors[0] < errors[1]


@pytest.mark.parametrize(
    ("convolution", "fewer"),
    [
        (nn.Conv2d(256, 256, 3, padding=1), True),
        (nn.Conv2d(256, 256, 3, padding="same"), True),
        (nn.Conv2d(255, 256, 3, padding=1), False),
        (nn.Conv2d(256, 256, 3, padding=1, stride=2), False),
        (nn.Conv2d(256, 256, 3), False),
        (nn.Conv2d(256, 256, 3, padding=2, dilation=2), False),
        (nn.Conv2d(512, 512, 3, padding=1, groups=2), False),
        (nn.Conv2d(256, 256, 3, padding=1, padding_mode="circular"), False),
        (nn.Conv2d(256, 256, 5, padding=2), False),
        (nn.Conv2d(256, 256, 3, padding=1).to(torch.bfloat16), False),
        (nn.Conv2d(256, 256, 3, padding=1, device="meta"), False),
    ],
)
def test_only_what_is_faster_for_it_is_replaced(convolution: nn.Conv2d, fewer: bool) -> None:
    dtype = convolution.weight.dtype
    twin = FoldedTwin(nn.Sequential(convolution), dtype)
    assert any(isinstance(module, Winograd) for module in twin.module.modules()) == fewer


def test_the_twin_of_a_wide_network_takes_them_and_follows_its_training() -> None:
    torch.manual_seed(0)
    model = build(ModelSpec("resnet18", tuple("abcd"), 32, (0.5,) * 3, (0.25,) * 3))
    twin = FoldedTwin(model)
    # Three in each of the last two stages; of their first blocks the first one has stride 2.
    assert sum(isinstance(module, Winograd) for module in twin.module.modules()) == 6
    x = torch.rand(4, 3, 32, 32)
    for _ in range(2):
        with torch.no_grad():
            torch.testing.assert_close(twin.module(x), model.eval()(x), rtol=0, atol=1e-4)
            for parameter in model.parameters():
                parameter.mul_(1.01)
        model.train()(x)
        twin.refresh()
