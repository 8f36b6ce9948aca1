"""How mistakes end that the stage `stylizer` and its variants find before they compute anything."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from atcore.base.errors import UserError
from atcore.images.stored import write
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build, weights_to_bytes
from atcore.stylizing.encoder import read_encoder
from tasks import stylizer, variants
from tasks.tools import encoder
from tasks.workspace import paths, trained

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with images, whose folders of encoders and styles are empty."""
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    split = ImageTable(np.arange(6), images, np.arange(6, dtype=np.int32) % 2, ("a", "b"))
    for name in ("train", "test"):
        write(split, paths.split("shapes", name))
    configure(encoder="raw/encoder/own.safetensors")
    return tmp_path


def configure(**changes: object) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["stylizer"]["adain"] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(params))


def message_of(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        stylizer.main(*arguments)
    assert not Path("stylizers").exists()
    return str(caught.value)


def test_without_the_encoder_the_line_names_file_and_way_out() -> None:
    assert message_of("shapes", "adain") == (
        "stylizer.adain.encoder: raw/encoder/own.safetensors: no such file of encoder weights; "
        "stylizing without weights: transfer: filtered"
    )


def test_an_unknown_stylizer_is_refused_with_those_allowed() -> None:
    assert message_of("shapes", "adam") == "stylizer: 'adam' is unknown; allowed: adain"


def trained_network(architecture: str) -> None:
    """A network of the method standard, as the stage train leaves it."""
    spec = ModelSpec(architecture, ("a", "b"), 16, (0.5,) * 3, (0.2,) * 3)
    torch.manual_seed(0)
    trained.write("shapes", "standard", 0, spec, weights_to_bytes(build(spec)), {})


def test_a_trained_network_becomes_an_encoder_that_the_stage_reads() -> None:
    trained_network("vgg")
    encoder.main("shapes", "standard", "0", "own")
    found = read_encoder(Path("raw/encoder/own.safetensors"))
    assert found(torch.rand(1, 3, 16, 16))[-1].shape == (1, 256, 2, 2)


def test_a_network_without_an_encoder_is_named() -> None:
    trained_network("small")
    with pytest.raises(UserError) as caught:
        encoder.main("shapes", "standard", "0", "own")
    assert str(caught.value) == (
        "models/shapes/standard/0/model.safetensors: a network of architecture 'small' has no "
        "encoder in it; train one with training.architecture: vgg"
    )
    assert not Path("raw").exists()


def test_without_the_stylizer_a_variant_names_the_stage_to_run() -> None:
    with pytest.raises(UserError) as caught:
        variants.main("shapes", "stylized_adain")
    assert str(caught.value) == (
        "stylizers/shapes/adain/stylizer.safetensors: no such file; run the stage stylizer first"
    )
