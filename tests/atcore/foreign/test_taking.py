"""Networks that were trained elsewhere, from their files to a network of this project."""

from pathlib import Path

import torch

from atcore.foreign.given import Given
from atcore.foreign.taking import take_in
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build, weights_to_bytes

SPEC = ModelSpec("small", ("cat", "dog", "eel"), 32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def test_weights_of_this_project_stay_as_they_are(tmp_path: Path) -> None:
    weights = weights_to_bytes(build(SPEC))
    (tmp_path / "mine.safetensors").write_bytes(weights)
    given = Given("mine", tmp_path, "small", SPEC.mean, SPEC.std)
    images = torch.zeros(6, 32, 32, 3, dtype=torch.uint8)
    taken = take_in(given, SPEC.classes, images, torch.arange(6) % 3)
    assert taken.spec == SPEC
    assert taken.weights == weights
    assert taken.facts.source == "mine.safetensors"
