"""The encoder against torchvision's network, and the files that it is read from."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from atcore.base.errors import UserError
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build, weights_to_bytes
from atcore.networks.vgg import CONVOLUTIONS, STRIDE
from atcore.stylizing.encoder import Encoder, imagenet_encoder, read_encoder
from atcore.stylizing.own_encoder import encoder_of

NARROW = (2, 3, 4, 5, 6, 6, 6, 6, 7)


def weights_of(widths: tuple[int, ...]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: value.clone() for name, value in Encoder(widths).state_dict().items()}


def test_activations_are_those_of_torchvisions_network(tmp_path: Path) -> None:
    from torchvision.models import vgg19  # noqa: PLC0415

    torch.manual_seed(0)
    # No classifier of full width: 120 million weights that nobody reads.
    full = vgg19(weights=None, num_classes=1, init_weights=False).features.eval()
    file = tmp_path / "full.safetensors"
    save_file({f"features.{name}": value for name, value in full.state_dict().items()}, file)
    found = read_encoder(file)
    assert found.widths == (64, 64, 128, 128, 256, 256, 256, 256, 512)
    x = torch.rand(2, 3, 24, 16)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (x - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    outputs = {}
    for index, layer in enumerate(full[:21]):
        if isinstance(layer, torch.nn.Conv2d):  # torchvision pads with zeros, the paper reflects
            layer.padding = (0, 0)
            expected = torch.nn.functional.pad(expected, (1, 1, 1, 1), mode="reflect")
        # torchvision's ReLU writes into its input; the copy keeps what was found.
        expected = layer(expected.clone())
        outputs[index] = expected
    with torch.no_grad():
        activations = found(x)
    for own, index in zip(activations, (1, 6, 11, 20), strict=True):
        torch.testing.assert_close(own, outputs[index], rtol=1e-5, atol=1e-6)
    assert [tuple(a.shape[1:]) for a in activations] == [
        (64, 24, 16),
        (128, 12, 8),
        (256, 6, 4),
        (512, 3, 2),
    ]


@pytest.mark.parametrize("name", ["own.safetensors", "own.pth"])
def test_a_narrow_encoder_of_ones_own_is_read_with_its_widths(tmp_path: Path, name: str) -> None:
    weights = weights_of(NARROW)
    # What comes after relu4_1 in a whole network does not count.
    whole = {**weights, "features.21.weight": torch.zeros(1), "classifier.0.bias": torch.zeros(1)}
    if name.endswith("pth"):
        torch.save(whole, tmp_path / name)
    else:
        save_file(whole, tmp_path / name)
    found = read_encoder(tmp_path / name)
    assert found.widths == NARROW
    assert not any(p.requires_grad for p in found.parameters())
    for key, value in found.state_dict().items():
        assert torch.equal(value, weights[key])


def test_the_encoder_of_a_trained_network_gives_the_activations_that_it_has_in_it() -> None:
    spec = ModelSpec("vgg", ("a", "b"), 32, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    torch.manual_seed(0)
    model = build(spec)
    x = torch.rand(8, 3, 32, 32)
    for _ in range(3):  # statistics and weights as after training: none at its initial value
        model(x).square().sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad / parameter.grad.norm())
    normalise, network = model.eval()
    with torch.no_grad():
        expected = {}
        activation = normalise(x)
        for index, layer in enumerate(network[0]):
            activation = expected[index] = layer(activation)
        found = encoder_of(spec, weights_to_bytes(model))(x)
    for own, index in zip(found, (1, 6, 11, 20), strict=True):
        torch.testing.assert_close(own, expected[index], rtol=1e-4, atol=1e-5)


def test_a_network_of_another_architecture_has_no_encoder_in_it() -> None:
    spec = ModelSpec("small", ("a", "b"), 32, (0.5,) * 3, (0.2,) * 3)
    with pytest.raises(UserError) as caught:
        encoder_of(spec, weights_to_bytes(build(spec)))
    assert str(caught.value) == (
        "a network of architecture 'small' has no encoder in it; "
        "train one with training.architecture: vgg"
    )


def refused(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_encoder(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named_with_the_way_without_weights(tmp_path: Path) -> None:
    file = tmp_path / "none.safetensors"
    assert refused(file) == (
        f"{file}: no such file of encoder weights; stylizing without weights: transfer: filtered"
    )


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pth"])
@pytest.mark.parametrize("content", [b"", b"<!doctype html><p>Not found</p>"])
def test_what_is_no_file_of_weights_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert refused(file).startswith(f"{file}: no readable file of weights: ")


def test_something_else_than_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.pth"
    torch.save([torch.zeros(1)], file)
    assert refused(file) == f"{file}: no file of weights by name"


def changed(changes: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    merged = {**weights_of(NARROW), **changes}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"features.16.weight": None}, "no features.16.weight and .bias"),
        ({"features.0.bias": None}, "no features.0.weight and .bias"),
        (
            {"features.5.weight": torch.zeros(4, 2, 3, 3)},
            "features.5.weight is 4 x 2 x 3 x 3, not N x 3 x 3 x 3 with N biases",
        ),
        (
            {"features.19.bias": torch.zeros(8)},
            "features.19.weight is 7 x 6 x 3 x 3, not N x 6 x 3 x 3 with N biases",
        ),
    ],
)
def test_another_layout_is_refused_at_its_first_difference(
    tmp_path: Path, changes: dict[str, Tensor | None], expected: str
) -> None:
    file = tmp_path / "other.safetensors"
    save_file(changed(changes), file)
    assert refused(file) == f"{file}: no encoder of VGG-19's layout: {expected}"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch keeps the downloaded weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"


def test_a_download_of_another_hash_is_refused(cached: Path) -> None:
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half")
    expected = f"{cached}: damaged, its SHA-256 does not start with dcbb9e9d; remove it"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}.*transfer: filtered$"):
        imagenet_encoder()


def test_without_a_network_the_line_names_the_other_ways(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No server of ours answers at this port: the address of the weights is out of reach.
    monkeypatch.setattr(
        "torchvision.models.VGG19_Weights.IMAGENET1K_V1.value.url",
        "http://127.0.0.1:9/vgg19-dcbb9e9d.pth",
        raising=False,
    )
    with pytest.raises(UserError, match=r"^cannot download http:") as caught:
        imagenet_encoder()
    assert "raw/encoder" in str(caught.value)
    assert str(caught.value).endswith("transfer: filtered")
    assert not cached.exists()


def test_the_nine_convolutions_are_those_before_relu4_1() -> None:
    assert CONVOLUTIONS == (0, 2, 5, 7, 10, 12, 14, 16, 19)
    assert STRIDE == 8
