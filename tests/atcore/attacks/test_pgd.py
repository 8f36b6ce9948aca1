"""Attacks: golden steps, the constraints they promise, and two independent implementations."""

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from atcore_samples import shapes_table, split_of, trained_network, training_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial
from atcore.attacks.threats import L2, Linf, ThreatModel
from atcore.base.errors import UserError
from atcore.images.pixels import to_pixels
from atcore.networks.folding import FoldedTwin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # their imports use names that SciPy has deprecated
    import foolbox
    import torchattacks

PIXEL_ROUNDING = 2e-7  # x + delta is rounded to float32


class Slope(nn.Module):
    """Two logits, 0 and 3 u - 4 v, of an image with the two pixels u and v.

    For label 0 the loss grows along (3, -4) / 5 everywhere, for label 1 along the opposite.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.0, 0.0], [3.0, -4.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


Pair = tuple[float, float]


def pixels(*pairs: Pair) -> Tensor:
    return torch.tensor(pairs).view(-1, 1, 1, 2)


def smooth_network() -> nn.Module:
    """A small network without kinks, so that equal inputs up to rounding get equal gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 64, 4)
        ).eval()


def random_images(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images of 3 x 8 x 8 with some pixels at the ends of the range, labels and noise."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(count, 3, 8, 8, generator=generator) * 1.6 - 0.3).clamp(0, 1)
    y = torch.randint(0, 4, (count,), generator=generator)
    return x, y, torch.randn(x.shape, generator=generator)


def start_of(threat: ThreatModel, x: Tensor, noise: Tensor) -> Tensor:
    """As much of the noise as a perturbation of x has entries."""
    return noise[:, : threat.zero(x).shape[1]]


def norms(threat: ThreatModel, delta: Tensor) -> Tensor:
    flat = delta.double().flatten(1)
    return flat.abs().amax(1) if isinstance(threat, Linf) else flat.norm(dim=1)


def ball_tolerance(threat: ThreatModel, size: int) -> float:
    spread = 1.0 if isinstance(threat, Linf) else math.sqrt(size)
    return PIXEL_ROUNDING * spread + 1e-6 * threat.eps


# Ball, length of a step, start (u, v), label, and where the image is after one step and after two.
GOLDEN = {
    "fgsm": (Linf(0.1), 0.1, (0.5, 0.5), 0, ((0.6, 0.4), (0.6, 0.4))),
    "fgsm, other label": (Linf(0.1), 0.1, (0.5, 0.5), 1, ((0.4, 0.6), (0.4, 0.6))),
    "fgsm, pixel range": (Linf(0.1), 0.1, (0.95, 0.02), 0, ((1.0, 0.0), (1.0, 0.0))),
    "linf": (Linf(0.1), 0.06, (0.5, 0.5), 0, ((0.56, 0.44), (0.6, 0.4))),
    "linf, pixel range": (Linf(0.1), 0.06, (0.97, 0.5), 0, ((1.0, 0.44), (1.0, 0.4))),
    "l2": (L2(0.08), 0.05, (0.5, 0.5), 0, ((0.53, 0.46), (0.548, 0.436))),
    "l2, other label": (L2(0.08), 0.05, (0.5, 0.5), 1, ((0.47, 0.54), (0.452, 0.564))),
    # Step 2 goes to delta (0.04, -0.08) of norm 0.0894, is scaled back to 0.08, then clipped.
    "l2, pixel range": (L2(0.08), 0.05, (0.99, 0.5), 0, ((1.0, 0.46), (1.0, 0.428446))),
}


@pytest.mark.parametrize(
    ("threat", "step_size", "start", "label", "ends"), GOLDEN.values(), ids=GOLDEN.keys()
)
def test_steps_follow_the_gradient_and_are_projected(
    threat: ThreatModel,
    step_size: float,
    start: Pair,
    label: int,
    ends: tuple[Pair, Pair],
) -> None:
    for steps, end in enumerate(ends, start=1):
        attack = PGD(threat=threat, step_size=step_size, steps=steps, random_start=False)
        result = attack.perturb(Slope(), pixels(start), torch.tensor([label]))
        torch.testing.assert_close(result, pixels(end), rtol=0, atol=1e-6)


# Image u, v (label 0 is right where 3 u < 4 v), and where at most three steps of 0.02 leave it.
UNTIL_FOOLED = {
    "misclassified from the start": ((0.5, 0.3), (0.5, 0.3)),
    "fooled by step 1": ((0.5, 0.4), (0.52, 0.38)),
    "fooled by step 2": ((0.5, 0.43), (0.54, 0.39)),
    "fooled by the last step": ((0.5, 0.47), (0.56, 0.41)),
    "stands": ((0.2, 0.9), (0.26, 0.84)),
}


def test_until_fooled_moves_each_image_to_its_first_error_and_no_further() -> None:
    starts, ends = (pixels(*pairs) for pairs in zip(*UNTIL_FOOLED.values(), strict=True))
    attack = PGD(threat=Linf(0.1), step_size=0.02, steps=3, random_start=False)
    y = torch.zeros(len(starts), dtype=torch.int64)
    result = attack.until_fooled(Slope(), starts, y)
    torch.testing.assert_close(result, ends, rtol=0, atol=1e-6)
    # The order within the batch, and who leaves it first, do not matter.
    torch.testing.assert_close(
        attack.until_fooled(Slope(), starts.flip(0), y), ends.flip(0), rtol=0, atol=1e-6
    )


def test_linf_start_is_uniform_in_the_box() -> None:
    # The quartiles of the normal distribution become the quartiles of (-eps, eps).
    noise = torch.tensor([[-0.67448975, 0.67448975], [0.0, 9.0]]).view(2, 1, 1, 2)
    start = Linf(0.1).sample(noise).view(2, 2)
    torch.testing.assert_close(start, torch.tensor([[-0.05, 0.05], [0.0, 0.1]]), rtol=0, atol=1e-6)
    many = Linf(1.0).sample(torch.randn(1, 1, 1, 40_000, generator=torch.Generator()))
    counts = torch.histc(many, bins=8, min=-1, max=1)
    assert ((counts - 5000).abs() < 5 * math.sqrt(5000)).all()


def test_l2_start_has_the_direction_of_the_noise_and_half_the_radius() -> None:
    start = L2(0.2).sample(torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)).view(2)
    torch.testing.assert_close(start, torch.tensor([0.06, 0.08]), rtol=0, atol=1e-7)


def test_random_start_is_added_before_the_first_step() -> None:
    noise = torch.tensor([-0.67448975, 0.67448975]).view(1, 1, 1, 2)
    attack = PGD(threat=Linf(0.1), step_size=0.02, steps=1)
    result = attack.perturb(Slope(), pixels((0.5, 0.5)), torch.tensor([0]), noise)
    torch.testing.assert_close(result, pixels((0.47, 0.53)), rtol=0, atol=1e-6)


def test_fgsm_from_a_random_start_is_projected_to_the_ball() -> None:
    # Starts at (-0.05, 0.05), steps by 0.125 to (0.075, -0.075); (0.05, 0.05) goes out to 0.175.
    quartile = 0.67448975
    noise = torch.tensor([[-quartile, quartile], [quartile, quartile]]).view(2, 1, 1, 2)
    x, y = pixels((0.5, 0.5), (0.5, 0.5)), torch.tensor([0, 0])
    fast = PGD(threat=Linf(0.1), step_size=0.125, steps=1)
    ends = pixels((0.575, 0.425), (0.6, 0.425))
    torch.testing.assert_close(fast.perturb(Slope(), x, y, noise), ends, rtol=0, atol=1e-6)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.1)], ids=repr)
def test_an_image_without_gradient_stays_where_it_is(threat: ThreatModel) -> None:
    model = Slope()
    with torch.no_grad():
        model.weight.zero_()
    x = pixels((0.5, 0.25))
    attack = PGD(threat=threat, step_size=0.05, steps=3, random_start=False)
    assert torch.equal(attack.perturb(model, x, torch.tensor([0])), x)


def test_scaled_multiplies_ball_and_step() -> None:
    attack = PGD(threat=L2(0.5), step_size=0.2, steps=7, random_start=False)
    assert attack.scaled(0.5) == PGD(threat=L2(0.25), step_size=0.1, steps=7, random_start=False)


attacks = st.builds(
    lambda norm, eps, relative_step, steps, random_start, start_deviation: PGD(
        threat=norm(eps),
        step_size=relative_step * eps,
        steps=steps,
        random_start=random_start,
        start_deviation=start_deviation,
    ),
    norm=st.sampled_from([Linf, L2]),
    eps=st.floats(0, 2),
    relative_step=st.floats(0, 3),
    steps=st.integers(1, 4),
    random_start=st.booleans(),
    start_deviation=st.none() | st.floats(0, 0.1),
)


@settings(max_examples=40)
@given(attack=attacks, seed=st.integers(0, 2**31))
def test_every_image_stays_in_the_ball_and_in_the_pixel_range(attack: PGD, seed: int) -> None:
    model = smooth_network()
    x, y, noise = random_images(3, seed)
    for result in (attack.perturb(model, x, y, noise), attack.until_fooled(model, x, y, noise)):
        assert result.dtype == torch.float32
        assert result.shape == x.shape
        tolerance = ball_tolerance(attack.threat, x[0].numel())
        assert (norms(attack.threat, result - x) <= attack.threat.eps + tolerance).all()
        assert result.min() >= 0
        assert result.max() <= 1


spatial_attacks = st.builds(
    lambda eps, smoothness, relative_step, steps, random_start: PGD(
        threat=Spatial(eps, smoothness=smoothness),
        step_size=relative_step * eps,
        steps=steps,
        random_start=random_start,
    ),
    eps=st.floats(0, 2),
    smoothness=st.sampled_from([0.0, 0.01]),
    relative_step=st.floats(0, 3),
    steps=st.integers(1, 4),
    random_start=st.booleans(),
)


@settings(max_examples=40)
@given(attack=attacks | spatial_attacks, seed=st.integers(0, 2**31))
def test_until_fooled_is_never_weaker_than_perturb(attack: PGD, seed: int) -> None:
    model = smooth_network()
    x, y, noise = random_images(8, seed)
    noise = start_of(attack.threat, x, noise)
    last, first = attack.perturb(model, x, y, noise), attack.until_fooled(model, x, y, noise)
    fooled_by_last = model(last).argmax(1) != y
    fooled_by_first = model(first).argmax(1) != y
    assert (fooled_by_first >= fooled_by_last).all()
    # Images that stand every step have taken the same steps in both forms.
    standing = ~fooled_by_first
    close = torch.isclose(first[standing], last[standing], rtol=0, atol=1e-5)
    assert close.float().sum() >= 0.999 * close.numel()


class Bump(nn.Module):
    """Logits 0 and 1 - 400 (u - 0.55)^2: label 0 is only misclassified for u near 0.55."""

    def forward(self, x: Tensor) -> Tensor:
        u = x.flatten(1)[:, :1]
        return torch.cat([torch.zeros_like(u), 1 - 400 * (u - 0.55) ** 2], dim=1)


def test_until_fooled_keeps_a_misclassified_image_that_later_steps_lose() -> None:
    # From u = 0.27 a step of 0.27 lands on the bump, and the next one leaves it again.
    x, y = pixels((0.27, 0.5)), torch.tensor([0])
    attack = PGD(threat=Linf(1.0), step_size=0.27, steps=2, random_start=False)
    last, first = attack.perturb(Bump(), x, y), attack.until_fooled(Bump(), x, y)
    assert first.flatten()[0].item() == pytest.approx(0.54)
    assert Bump()(last).argmax(1).item() == 0
    assert Bump()(first).argmax(1).item() == 1


@pytest.mark.parametrize("threat", [Linf(0.3), L2(4.0)], ids=repr)
@pytest.mark.parametrize("sureness", [1, 30, 1000])
def test_sureness_is_no_robustness(threat: ThreatModel, sureness: int) -> None:
    network = smooth_network()
    x, _, noise = random_images(20, 0)
    y = network(x).argmax(1)
    with torch.no_grad():
        network[3].weight.mul_(sureness)
        network[3].bias.mul_(sureness)
    attack = PGD(threat=threat, step_size=0.1 * float(threat.eps), steps=20)
    attacked = attack.until_fooled(network, x, y, noise)
    assert (network(attacked).argmax(1) != y).all()


def test_an_l2_step_along_a_tiny_gradient_is_as_long_as_any() -> None:
    gradient = torch.randn(2, 3, 8, 8)
    step = L2(1.0).step(gradient, 0.5)
    assert torch.equal(L2(1.0).step(torch.ldexp(gradient, torch.tensor(-100)), 0.5), step)


@settings(max_examples=25)
@given(
    norm=st.sampled_from([Linf, L2, Spatial]),
    step_size=st.floats(0, 2),
    random_start=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_a_ball_of_radius_zero_gives_the_image_back(
    norm: type[ThreatModel], step_size: float, random_start: bool, seed: int
) -> None:
    model = smooth_network()
    x, y, noise = random_images(2, seed)
    attack = PGD(threat=norm(0.0), step_size=step_size, steps=2, random_start=random_start)
    noise = start_of(attack.threat, x, noise)
    assert torch.equal(attack.perturb(model, x, y, noise), x)
    assert torch.equal(attack.until_fooled(model, x, y, noise), x)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("trainable", [True, False], ids=["trainable", "frozen"])
@pytest.mark.parametrize("form", ["perturb", "until_fooled"])
@pytest.mark.parametrize("threat", [Linf(0.1), Spatial(0.5, smoothness=0.01)], ids=repr)
def test_arguments_are_left_as_they_were(
    threat: ThreatModel, form: str, trainable: bool, training: bool
) -> None:
    model = smooth_network().train(training).requires_grad_(trainable)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y, noise = random_images(4, 0)
    noise = start_of(threat, x, noise)
    copies = x.clone(), y.clone(), noise.clone()
    result = getattr(PGD(threat=threat, step_size=0.05, steps=2), form)(model, x, y, noise)
    assert all(torch.equal(a, b) for a, b in zip((x, y, noise), copies, strict=True))
    assert not x.requires_grad
    assert x.grad is None
    assert model.training is training
    assert all(module.training is training for module in model.modules())
    for parameter in model.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad is trainable
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not result.requires_grad
    assert result.data_ptr() != x.data_ptr()


ATTACKS = [
    PGD(threat=Linf(0.1), step_size=0.03, steps=4),
    PGD(threat=L2(0.8), step_size=0.3, steps=4),
    PGD(threat=Spatial(0.8, smoothness=0.002), step_size=0.2, steps=4),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
@pytest.mark.parametrize("form", ["perturb", "until_fooled"])
def test_an_image_is_attacked_alike_in_any_company(form: str, attack: PGD) -> None:
    model = smooth_network()
    x, y, noise = random_images(12, 1)
    noise = start_of(attack.threat, x, noise)
    whole = getattr(attack, form)(model, x, y, noise)
    parts = [
        getattr(attack, form)(model, x[part], y[part], noise[part])
        for part in (slice(0, 1), slice(1, 6), slice(6, 12))
    ]
    close = torch.isclose(torch.cat(parts), whole, rtol=0, atol=1e-5)
    # A gradient that is zero up to rounding may change its sign with the size of the batch.
    assert close.float().mean() > 0.999
    assert (whole - x).abs().amax(dim=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_equal_noise_gives_equal_images_and_other_noise_does_not(attack: PGD) -> None:
    model = smooth_network()
    x, y, noise = random_images(4, 2)
    noise = start_of(attack.threat, x, noise)
    first = attack.perturb(model, x, y, noise)
    assert torch.equal(attack.perturb(model, x, y, noise), first)
    assert not torch.equal(attack.perturb(model, x, y, noise.flip(0)), first)


INVALID = [
    pytest.param(lambda: Linf(-0.1), "eps: -0.1 ", id="negative eps"),
    pytest.param(lambda: L2(math.nan), "eps: nan ", id="nan eps"),
    pytest.param(lambda: L2(math.inf), "eps: inf ", id="infinite eps"),
    pytest.param(lambda: PGD(threat=L2(1), step_size=-1, steps=1), "step_size: -1 ", id="step"),
    pytest.param(
        lambda: PGD(threat=L2(1), step_size=math.nan, steps=1), "step_size: nan ", id="nan step"
    ),
    pytest.param(
        lambda: PGD(threat=L2(1), step_size=math.inf, steps=1), "step_size: inf ", id="inf step"
    ),
    pytest.param(lambda: PGD(threat=L2(1), step_size=1, steps=0), "steps: 0 ", id="no steps"),
    pytest.param(lambda: PGD(threat=L2(1), step_size=1, steps=-3), "steps: -3 ", id="fewer steps"),
]


@pytest.mark.parametrize(("build", "named"), INVALID)
def test_invalid_arguments_are_refused_in_one_line(build: Callable[[], object], named: str) -> None:
    with pytest.raises(UserError) as caught:
        build()
    message = str(caught.value)
    assert message.startswith(named)
    assert "give a" in message
    assert "\n" not in message


# --- independent implementations --------------------------------------------------------------


class Victim:
    """A network trained on `shapes`, and the test images it is attacked on."""

    def __init__(self) -> None:
        table = shapes_table(2250)
        training = split_of(table.rows(slice(0, 1500)))
        validation = split_of(table.rows(slice(1500, 1750)))
        test = split_of(table.rows(slice(1750, 2250)))
        spec = training_spec(epochs=4)
        self.network = trained_network(spec, training, validation).requires_grad_(False)
        self.x, self.y = to_pixels(test.images).contiguous(), test.labels
        self.noise = torch.randn(self.x.shape, generator=torch.Generator().manual_seed(0))

    def accuracy(self, images: Tensor) -> float:
        with torch.no_grad():
            return (self.network(images).argmax(1) == self.y).float().mean().item()


@pytest.fixture(scope="module")
def victim() -> Victim:
    return Victim()


def test_the_spatial_attack_fools_more_than_random_flows(victim: Victim) -> None:
    x, y, noise = victim.x[:100], victim.y[:100], victim.noise[:100, :2]
    threat = Spatial(0.5)
    attack = PGD(threat=threat, step_size=0.25, steps=3)

    def accuracy(images: Tensor) -> float:
        return (victim.network(images).argmax(1) == y).float().mean().item()

    random = accuracy(threat.apply(x, threat.sample(noise)))
    perturbed = accuracy(attack.perturb(victim.network, x, y, noise))
    assert perturbed < min(accuracy(x), random) - 0.3
    assert accuracy(attack.until_fooled(victim.network, x, y, noise)) <= perturbed
    # On the folded network in bf16, as in training, it does the same.
    twin = FoldedTwin(victim.network, torch.bfloat16).module
    with torch.autocast("cpu", torch.bfloat16):
        in_bf16 = attack.perturb(twin, x, y, noise)
    assert in_bf16.dtype == torch.float32
    assert accuracy(in_bf16) == pytest.approx(perturbed, abs=0.1)


def _torchattacks(attack: PGD, victim: Victim) -> Tensor:
    kind = torchattacks.PGD if isinstance(attack.threat, Linf) else torchattacks.PGDL2
    reference = kind(
        victim.network, eps=attack.threat.eps, alpha=attack.step_size, steps=attack.steps
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images: Tensor = reference(victim.x, victim.y)
    return images


def _foolbox(attack: PGD, victim: Victim) -> Tensor:
    kind = foolbox.attacks.LinfPGD if isinstance(attack.threat, Linf) else foolbox.attacks.L2PGD
    reference = kind(abs_stepsize=attack.step_size, steps=attack.steps, random_start=True)
    model = foolbox.PyTorchModel(victim.network, bounds=(0, 1), device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, images, _ = reference(model, victim.x, victim.y, epsilons=attack.threat.eps)
    result: Tensor = images
    return result


@pytest.mark.parametrize(
    "attack",
    [
        PGD(threat=Linf(3 / 255), step_size=0.9 / 255, steps=6),
        PGD(threat=L2(0.45), step_size=0.15, steps=6),
    ],
    ids=["linf", "l2"],
)
def test_attack_is_as_strong_as_those_of_other_libraries(attack: PGD, victim: Victim) -> None:
    clean = victim.accuracy(victim.x)
    perturbed = attack.perturb(victim.network, victim.x, victim.y, victim.noise)
    until_fooled = attack.until_fooled(victim.network, victim.x, victim.y, victim.noise)
    ours = {"perturb": victim.accuracy(perturbed), "until_fooled": victim.accuracy(until_fooled)}
    theirs = {
        "torchattacks": victim.accuracy(_torchattacks(attack, victim)),
        "foolbox": victim.accuracy(_foolbox(attack, victim)),
    }
    # The attack does something and the network is not simply broken by any change.
    assert min(theirs.values()) < clean - 0.1
    assert min(theirs.values()) > 0.05
    assert ours["until_fooled"] <= ours["perturb"]
    for accuracy in ours.values():
        assert accuracy <= min(theirs.values()) + 0.01, f"ours: {ours}, theirs: {theirs}"
