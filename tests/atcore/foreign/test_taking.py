"""Networks that were trained elsewhere, from their files to a network of this project."""

from pathlib import Path

import pytest
import torch
from foreign_networks import SPEC, given, images, seeded, taken
from torch import nn

from atcore.foreign.taking import Taken
from atcore.images.pixels import to_pixels
from atcore.networks.folding import load_folded
from atcore.networks.models import weights_to_bytes
from atcore.networks.saved import Classifier
from tasks.tools.export.networks import to_pt2, to_state_dict


def assert_same_answers(found: Taken, expected: nn.Module) -> None:
    """To the bit, also of their gradients, as evaluation and attacks ask them."""
    network = load_folded(found.spec, found.weights, "cpu")
    answers = []
    for each in (network, expected):
        x = to_pixels(images()).requires_grad_()
        logits = each(x)
        answers.append((logits, torch.autograd.grad(logits[:, 0].sum(), x)[0]))
    assert torch.equal(answers[0][0], answers[1][0])
    assert torch.equal(answers[0][1], answers[1][1])


def test_weights_of_this_project_stay_as_they_are(tmp_path: Path) -> None:
    weights = weights_to_bytes(seeded())
    (tmp_path / "mine.safetensors").write_bytes(weights)
    found = taken(given(tmp_path))
    assert found.spec == SPEC
    assert found.weights == weights
    assert found.facts.source == "mine.safetensors"
    assert found.facts.architecture == "small (this project)"


@pytest.mark.parametrize("kind", ["pt2", "state_dict"])
def test_what_this_project_exports_answers_to_the_bit_as_before(tmp_path: Path, kind: str) -> None:
    weights = weights_to_bytes(seeded())
    export = {"pt2": to_pt2, "state_dict": to_state_dict}[kind]
    file = tmp_path / {"pt2": "mine.pt2", "state_dict": "mine.pth"}[kind]
    export(Classifier(SPEC, weights), file)
    found = taken(given(tmp_path, None if kind == "pt2" else "small"))
    assert_same_answers(found, load_folded(SPEC, weights, "cpu"))
    if kind == "pt2":
        assert found.weights == file.read_bytes()
    else:
        assert found.weights == weights
