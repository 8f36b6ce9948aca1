"""Networks that were trained elsewhere, from their files to a network of this project."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from foreign_networks import SPEC, given, images, seeded, taken
from safetensors.torch import save_file
from torch import nn

from atcore.base.errors import UserError
from atcore.foreign.given import Facts, Given
from atcore.foreign.taking import Taken
from atcore.images.pixels import to_pixels
from atcore.networks.architecture import PROGRAM
from atcore.networks.folding import FoldedTwin, load_folded
from atcore.networks.models import load, weights_to_bytes
from atcore.networks.saved import Classifier
from tasks.tools.export.networks import to_onnx, to_pt2, to_state_dict


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


def test_weights_of_a_network_that_normalises_by_itself_become_a_program(tmp_path: Path) -> None:
    bare = {k.removeprefix("1."): t for k, t in seeded().state_dict().items() if k[0] == "1"}
    save_file(bare, tmp_path / "mine.safetensors")
    found = taken(given(tmp_path))
    assert found.spec.architecture == PROGRAM
    unnormalised = load(SPEC, weights_to_bytes(seeded())).get_submodule("1")
    assert_same_answers(found, FoldedTwin(unnormalised).module)


def test_what_was_taken_in_can_be_exported_again(tmp_path: Path) -> None:
    to_pt2(Classifier(SPEC, weights_to_bytes(seeded())), tmp_path / "mine.pt2")
    found = taken(given(tmp_path, None))
    classifier = Classifier(found.spec, found.weights)
    to_pt2(classifier, tmp_path / "again.pt2")
    again = Given("again", tmp_path)
    assert_same_answers(taken(again), load_folded(found.spec, found.weights, "cpu"))
    to_onnx(classifier, tmp_path / "mine.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "mine.onnx")
    pixels = to_pixels(images()).contiguous()
    (logits,) = session.run(["logits"], {"images": pixels.numpy()})
    assert logits.argmax(1).tolist() == classifier(pixels).argmax(1).tolist()
    with pytest.raises(UserError, match="--to: state_dict needs an architecture"):
        to_state_dict(classifier, tmp_path / "mine.pth")


def test_the_facts_survive_their_file(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(weights_to_bytes(seeded()))
    facts = taken(given(tmp_path)).facts
    assert Facts.from_json(facts.to_json()) == facts
    assert facts.remarks
    assert all(remark.endswith(".") for remark in facts.remarks)
