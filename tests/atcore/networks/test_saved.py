"""A trained network for use elsewhere."""

from pathlib import Path

import pytest
import torch

import atcore
from atcore.base.errors import UserError
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build, weights_to_bytes

SPEC = ModelSpec("small", ("cat", "dog", "eel"), 32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = weights_to_bytes(build(SPEC))
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "model.json").write_text(SPEC.to_json())
    return tmp_path


def test_it_answers_as_the_network_that_was_trained(folder: Path) -> None:
    network = atcore.load(folder)
    assert network.classes == ("cat", "dog", "eel")
    assert network.image_size == 32
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trained = build(SPEC).eval()
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(x), trained(x), rtol=0, atol=1e-6)


def test_pixels_that_are_whole_numbers_are_refused(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"torch\.uint8; give float32 in \[0, 1\]"):
        atcore.load(folder)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.json", None, r"model\.json: no such file; give the folder of a trained network"),
        ("model.json", b"{}", r"model\.json: not the description of a model"),
        ("model.safetensors", None, r"model\.safetensors: no such file"),
        ("model.safetensors", b"", r"model\.safetensors: model weights do not fit small"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    folder: Path, file: str, content: bytes | None, said: str
) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=said):
        atcore.load(str(folder))
