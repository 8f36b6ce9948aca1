"""Trained networks in other formats: others run them, and get the same answers."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import atcore
from atcore.base.errors import UserError
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build, weights_to_bytes
from tasks.tools.export.__main__ import main

DESCRIPTION = {"classes": ["cat", "dog", "eel"], "image_size": 64}


@pytest.fixture(params=["small", "mobilenet_v3_small"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return saved(request.param, tmp_path / "network")


def saved(architecture: str, folder: Path) -> Path:
    """The folder of a network whose batch normalisations have seen images."""
    spec = ModelSpec(architecture, ("cat", "dog", "eel"), 64, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(spec).train()
        model(images(8))
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights_to_bytes(model))
    (folder / "model.json").write_text(spec.to_json())
    return folder


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count))


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_program_of_torch_export_has_its_answers_and_gradients(
    folder: Path, tmp_path: Path
) -> None:
    main(str(folder), "pt2", str(tmp_path / "network.pt2"))
    described = {"spec.json": ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=described)
    assert json.loads(described["spec.json"]) == DESCRIPTION
    ours, theirs = atcore.load(folder), program.module()
    for count in (1, 5):
        labels = torch.arange(count) % 3
        gradients = []
        for network in (ours, theirs):
            x = images(count).requires_grad_()
            logits = network(x)
            F.cross_entropy(logits, labels).backward()
            gradients.append((logits.detach(), x.grad))
        for expected, found in zip(*gradients, strict=True):
            assert_same(found, expected)


def test_onnx_has_its_answers(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    main(str(folder), "onnx", str(file))
    (property_,) = onnx.load(file).metadata_props
    assert (property_.key, json.loads(property_.value)) == ("spec.json", DESCRIPTION)
    session = onnxruntime.InferenceSession(file)
    for count in (1, 5):
        (logits,) = session.run(["logits"], {"images": images(count).numpy()})
        assert_same(torch.from_numpy(logits), atcore.load(folder)(images(count)))


class Normalised(nn.Module):
    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, mean, std

    def forward(self, x: Tensor) -> Tensor:
        normalise = torchvision.transforms.Normalize(self.mean, self.std)
        logits: Tensor = self.network(normalise(x))
        return logits


def test_weights_fit_the_architecture_of_torchvision(tmp_path: Path) -> None:
    folder = saved("resnet18", tmp_path / "network")
    main(str(folder), "state_dict", str(tmp_path / "weights.pt"))
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    network = torchvision.models.resnet18(num_classes=len(found["classes"]))
    network.load_state_dict(found["state_dict"])
    theirs = Normalised(network, found["mean"], found["std"]).eval()
    with torch.no_grad():
        assert_same(theirs(images(3)), atcore.load(folder)(images(3)))


def test_what_cannot_be_exported_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    folder = saved("small", tmp_path / "network")
    allowed = r"--to: 'parquet' is unknown for a network; allowed: pt2, onnx, state_dict"
    with pytest.raises(UserError, match=allowed):
        main(str(folder), "parquet", str(tmp_path / "out"))
    (folder / "model.json").unlink()
    with pytest.raises(UserError, match=r"model\.json: no such file"):
        main(str(folder), "pt2", str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


@pytest.mark.parametrize("page", ["README.md", "docs/artifacts.md"])
def test_a_photograph_is_classified_as_the_docs_say(tmp_path: Path, page: str) -> None:
    folder = saved("small", tmp_path / "network")
    text = (Path(__file__).parents[3] / page).read_text()
    code = text.split("```python\nimport atcore\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) < 8
    code = "import atcore\n" + code
    code = code.replace("models/shapes/pgd_linf_8/0", str(folder))
    photograph = tmp_path / "photograph.png"
    torchvision.utils.save_image(torch.rand(3, 80, 120), photograph)
    code = code.replace("photograph.jpg", str(photograph))
    names: dict[str, object] = {}
    exec(code, names)
    assert names["name"] in DESCRIPTION["classes"]
    assert np.shape(names["salience"]) == (1, 64, 64)
