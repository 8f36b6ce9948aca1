"""The spatial threat model: golden flows, its smoothness, and what every flow keeps."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial, roughness, warp
from atcore.base.errors import UserError

IMAGE = torch.tensor([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5], [0.6, 0.7, 1.0]]).view(1, 1, 3, 3)


def constant(down: float, right: float) -> Tensor:
    return torch.tensor([down, right]).view(1, 2, 1, 1).expand(1, 2, 3, 3)


# Flow (down, right) of every pixel, and the image that it gives.
SHIFTED = {
    "right": ((0, 1), [[0.1, 0.2, 0.2], [0.4, 0.5, 0.5], [0.7, 1.0, 1.0]]),
    "up": ((-1, 0), [[0.0, 0.1, 0.2], [0.0, 0.1, 0.2], [0.3, 0.4, 0.5]]),
    "down and left": ((1, -1), [[0.3, 0.3, 0.4], [0.6, 0.6, 0.7], [0.6, 0.6, 0.7]]),
    "far away": ((7, -9), [[0.6] * 3] * 3),
    "half a pixel down": ((0.5, 0), [[0.15, 0.25, 0.35], [0.45, 0.55, 0.75], [0.6, 0.7, 1.0]]),
    "half a pixel each": ((0.5, 0.5), [[0.2, 0.3, 0.35], [0.5, 0.65, 0.75], [0.65, 0.85, 1.0]]),
}


@pytest.mark.parametrize(("flow", "expected"), SHIFTED.values(), ids=SHIFTED.keys())
def test_a_pixel_shows_what_lies_where_its_flow_leads(
    flow: tuple[float, float], expected: list[list[float]]
) -> None:
    result = warp(IMAGE, constant(*flow))
    exact = all(float(component).is_integer() for component in flow)
    tolerance = 0.0 if exact else 1e-6
    torch.testing.assert_close(
        result, torch.tensor(expected).view(1, 1, 3, 3), rtol=0, atol=tolerance
    )


def random_case(seed: int, reach: float) -> tuple[Tensor, Tensor]:
    """Images of 3 x 6 x 9 in [0, 1], some pixels at its ends, and flows of up to `reach` pixels."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(4, 3, 6, 9, generator=generator) * 1.6 - 0.3).clamp(0, 1)
    return x, reach * (2 * torch.rand(4, 2, 6, 9, generator=generator) - 1)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), reach=st.floats(0, 12))
def test_samples_and_gradients_are_those_of_grid_sample(seed: int, reach: float) -> None:
    x, flow = (t.double().requires_grad_() for t in random_case(seed, reach))
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(9), indexing="ij")
    places = torch.stack([columns + flow[:, 1], rows + flow[:, 0]], dim=-1)
    grid = 2 * places / torch.tensor([8, 5]) - 1
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=True)
    result = warp(x, flow)
    torch.testing.assert_close(result, expected)
    weights = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).view_as(x)
    gradients = [
        torch.autograd.grad((image * weights).sum(), flow)[0] for image in (result, expected)
    ]
    # Where the flow leads to the border exactly, or to a whole pixel, there are two of them.
    inside = ((places - places.round()).abs() > 1e-6).all(-1).unsqueeze(1).expand_as(flow)
    torch.testing.assert_close(gradients[0][inside], gradients[1][inside])


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), reach=st.floats(0, 12))
def test_every_flow_keeps_the_pixel_range(seed: int, reach: float) -> None:
    x, flow = random_case(seed, reach)
    result = Spatial(reach).apply(x, flow)
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_no_flow_gives_the_image_back_bit_for_bit(layout: torch.memory_format) -> None:
    x = random_case(0, 0)[0].contiguous(memory_format=layout)
    threat = Spatial(1.0)
    assert torch.equal(threat.apply(x, threat.zero(x)), x)


# --- smoothness -----------------------------------------------------------------------------------


def test_roughness_by_hand() -> None:
    # (down, right) of 2 x 2 pixels: the pairs differ by (3, 4), (0, 0), (0, 1) and (3, 3).
    flow = torch.tensor([[[0.0, 3.0], [0.0, 0.0]], [[0.0, 4.0], [0.0, 1.0]]])[None]
    # horizontal: |(3, 4)| = 5, |(0, 1)| = 1; vertical: 0, |(-3, -3)| = 3 sqrt 2; each pair twice.
    assert roughness(flow).item() == pytest.approx(2 * (5 + 1 + 3 * math.sqrt(2)), abs=1e-5)
    both = torch.cat([flow, constant(5, 5)[..., :2, :2]])
    assert roughness(both).item() == pytest.approx(roughness(flow).item(), abs=2e-5)


def test_the_gradient_of_roughness_is_that_of_finite_differences() -> None:
    _, flow = (t.double() for t in random_case(3, 2))
    assert torch.autograd.gradcheck(roughness, (flow[:1, :, :3, :3].clone().requires_grad_(),))
    still = torch.zeros(1, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(roughness(still), still)
    assert torch.equal(gradient, torch.zeros_like(still))


def test_the_attacker_gives_up_loss_for_smoothness() -> None:
    flow = random_case(1, 1)[1]
    loss = torch.tensor(3.0)
    assert Spatial(1.0).objective(loss, flow).item() == pytest.approx(3.0)
    expected = 3 - 0.05 * roughness(flow).item()
    assert Spatial(1.0, smoothness=0.05).objective(loss, flow).item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothness", [-0.1, math.nan, math.inf])
def test_a_wrong_smoothness_is_refused(smoothness: float) -> None:
    with pytest.raises(UserError, match=rf"^smoothness: {smoothness} is not allowed; give a "):
        Spatial(1.0, smoothness=smoothness)


# --- the attack -----------------------------------------------------------------------------------


class Column(nn.Module):
    """Two logits, 0 and the pixel in the middle of a 3 x 3 image minus 1/2."""

    def forward(self, x: Tensor) -> Tensor:
        middle = x[:, 0, 1, 1, None]
        return torch.cat([torch.zeros_like(middle), middle - 0.5], dim=1)


@pytest.mark.parametrize(
    ("label", "ends"),
    [
        # Down and right to 0.3 px: 0.7 (0.7 x 0.4 + 0.3 x 0.5) + 0.3 (0.7 x 0.7 + 0.3 x 1.0).
        (0, (0.538, 0.65)),
        # Up and left.
        (1, (0.28, 0.2)),
    ],
)
def test_steps_follow_the_slope_of_the_image_to_the_radius(
    label: int, ends: tuple[float, float]
) -> None:
    for steps, end in enumerate(ends, start=1):
        attack = PGD(threat=Spatial(0.5), step_size=0.3, steps=steps, random_start=False)
        expected = IMAGE.clone()
        expected[0, 0, 1, 1] = end
        result = attack.perturb(Column(), IMAGE, torch.tensor([label]))
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
