"""Networks: shapes, the normalisation inside them, and the way to bytes and back."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.networks.architecture import ModelSpec
from atcore.networks.averaging import GlobalAverage
from atcore.networks.models import build, load, weights_to_bytes

# The others: test_architectures.py.
ARCHITECTURES = ("small", "resnet18", "vgg")
SPEC = ModelSpec("small", ("cat", "dog", "eel"), 32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def seeded(spec: ModelSpec, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(spec).eval()


def images(size: int = 32, count: int = 2) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("size", "classes"), [(32, 2), (48, 8), (64, 200)])
def test_images_give_one_logit_per_class(architecture: str, size: int, classes: int) -> None:
    names = tuple(f"class {i}" for i in range(classes))
    model = seeded(replace(SPEC, architecture=architecture, image_size=size, classes=names))
    logits = model(images(size, count=3))
    assert logits.shape == (3, classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("architecture", ["small", "resnet18"])
def test_pixels_are_normalised_inside_the_network(architecture: str) -> None:
    spec = replace(SPEC, architecture=architecture)
    normalising = seeded(spec)
    plain = seeded(replace(spec, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    x = images()
    mean, std = torch.tensor(spec.mean).view(3, 1, 1), torch.tensor(spec.std).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(normalising(x), plain((x - mean) / std), rtol=0, atol=1e-5)
        assert not torch.allclose(normalising(x), plain(x), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_averages_are_those_of_torch_and_their_gradient_lies_as_the_maps_do(
    dtype: torch.dtype,
) -> None:
    form = torch.channels_last
    maps = torch.randn(3, 5, 4, 6).to(dtype, memory_format=form).requires_grad_()
    weights = torch.randn(3, 5, 1, 1).to(dtype)
    found, wanted = GlobalAverage()(maps), nn.AdaptiveAvgPool2d(1)(maps)
    gradients = [torch.autograd.grad(each, maps, weights)[0] for each in (found, wanted)]
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
    assert torch.equal(*gradients)
    assert [each.is_contiguous(memory_format=form) for each in gradients] == [True, False]


@pytest.mark.parametrize(
    ("size", "kernel", "pooled"), [(32, 3, False), (63, 3, False), (64, 7, True), (224, 7, True)]
)
def test_resnet18_keeps_small_images_large_in_its_stem(
    size: int, kernel: int, pooled: bool
) -> None:
    model = build(replace(SPEC, architecture="resnet18", image_size=size))
    weights = model.state_dict()["1.conv1.weight"]
    assert weights.shape == (64, 3, kernel, kernel)
    assert any(isinstance(module, nn.MaxPool2d) for module in model.modules()) is pooled


def test_stem_of_a_small_resnet18_is_initialised_for_its_own_size() -> None:
    # Kaiming, fan out: std = sqrt(2 / (64 * 3 * 3)); torch's default would give a third of it.
    weights = seeded(replace(SPEC, architecture="resnet18")).state_dict()["1.conv1.weight"]
    assert weights.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "mnasnet0_5"])
def test_a_saved_network_answers_alike_after_loading(architecture: str) -> None:
    spec = replace(SPEC, architecture=architecture)
    model = seeded(spec).train()
    model(images(count=8))  # moves the running statistics away from their first values
    model.eval()
    loaded = load(spec, weights_to_bytes(model))
    with torch.no_grad():
        torch.testing.assert_close(loaded(images()), model(images()), rtol=0, atol=1e-5)
    assert all(
        torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items()
    )


def test_a_loaded_network_is_frozen_and_in_eval_mode() -> None:
    loaded = load(SPEC, weights_to_bytes(seeded(SPEC)))
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_equal_weights_give_equal_bytes_whatever_their_order_in_memory() -> None:
    model = seeded(SPEC)
    first = weights_to_bytes(model)
    assert weights_to_bytes(seeded(SPEC)) == first
    assert weights_to_bytes(model.to(memory_format=torch.channels_last)) == first
    assert weights_to_bytes(seeded(SPEC, seed=1)) != first


def test_spec_survives_json() -> None:
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC


GOOD = weights_to_bytes(seeded(SPEC))
MISFITS = {
    "other architecture": (replace(SPEC, architecture="resnet18"), GOOD),
    "other number of classes": (replace(SPEC, classes=("cat", "dog")), GOOD),
    "garbage": (SPEC, b"these are no weights"),
    "nothing": (SPEC, b""),
    "cut short": (SPEC, GOOD[:-100]),
    "other stem": (
        replace(SPEC, architecture="resnet18", image_size=64),
        weights_to_bytes(seeded(replace(SPEC, architecture="resnet18"))),
    ),
}


@pytest.mark.parametrize(("spec", "weights"), MISFITS.values(), ids=MISFITS.keys())
def test_weights_that_do_not_fit_are_refused_in_one_line(spec: ModelSpec, weights: bytes) -> None:
    with pytest.raises(UserError) as caught:
        load(spec, weights)
    message = str(caught.value)
    assert f"do not fit {spec.architecture}" in message
    assert "\n" not in message


def test_message_about_another_number_of_classes_says_so() -> None:
    with pytest.raises(UserError, match=r"size mismatch.*weight"):
        load(replace(SPEC, classes=("cat", "dog")), GOOD)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        build(replace(SPEC, architecture="vit"))
    expected = "architecture: 'vit' is neither of this project nor of torchvision"
    assert str(caught.value) == expected
