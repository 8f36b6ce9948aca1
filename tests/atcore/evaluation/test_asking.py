"""Answers of a network: complete, in order, independent of how the images are cut into shards."""

import numpy as np
import pytest
import torch

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial
from atcore.attacks.threats import Linf
from atcore.base.errors import UserError
from atcore.evaluation.asking import predict
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import load_folded
from atcore.networks.models import build, weights_to_bytes


def _table(n: int, classes: int) -> ImageTable:
    rng = np.random.default_rng(0)
    return ImageTable(
        ids=np.arange(100, 100 + n),
        images=rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8),
        labels=rng.integers(0, classes, n).astype(np.int32),
        classes=tuple(f"c{i}" for i in range(classes)),
    )


def _network(classes: int) -> tuple[ModelSpec, bytes]:
    spec = ModelSpec("small", tuple(f"c{i}" for i in range(classes)), 32, (0.5,) * 3, (0.25,) * 3)
    torch.manual_seed(0)
    return spec, weights_to_bytes(build(spec))


ATTACK = PGD(threat=Linf(8 / 255), step_size=2 / 255, steps=3)
SPATIAL = PGD(threat=Spatial(0.5, smoothness=0.005), step_size=0.25, steps=3)


@pytest.mark.parametrize(
    "attack", [None, ATTACK, SPATIAL], ids=["clean", "attacked", "attacked by moving pixels"]
)
def test_answers_do_not_depend_on_the_shards(attack: PGD | None) -> None:
    table, (spec, weights) = _table(12, 8), _network(8)
    model = load_folded(spec, weights, "cpu")

    def answers(shards: list[ImageTable]) -> np.ndarray:
        parts = [
            predict(model, s, variant="v", level=1.0, attack=attack, seed=3, device="cpu")
            for s in shards
        ]
        return np.concatenate([part.probabilities for part in parts])

    np.testing.assert_allclose(answers(table.shards(5)), answers([table]), atol=1e-4)


def test_top_three_are_the_most_probable_classes_in_order() -> None:
    table, (spec, weights) = _table(6, 8), _network(8)
    model = load_folded(spec, weights, "cpu")
    part = predict(model, table, variant="clean", level=0.0, attack=None, seed=0, device="cpu")
    x = torch.from_numpy(table.images).permute(0, 3, 1, 2).float() / 255
    expected = build_and_load(spec, weights)(x).softmax(1).sort(dim=1, descending=True)
    np.testing.assert_array_equal(part.top3, expected.indices[:, :3].numpy())
    np.testing.assert_allclose(
        part.probabilities, expected.values[:, :3].detach().numpy(), atol=1e-5
    )
    np.testing.assert_array_equal(part.predicted, part.top3[:, 0])
    np.testing.assert_array_equal(part.ids, table.ids)


def build_and_load(spec: ModelSpec, weights: bytes) -> torch.nn.Module:
    """The network without folding, through safetensors' own loader."""
    from safetensors.torch import load  # noqa: PLC0415

    model = build(spec)
    model.load_state_dict(load(weights))
    return model.eval()


class Standardising(torch.nn.Module):
    """Divides by the deviation of an image's pixels, which may be zero."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))[:, :, 0, 0]


def test_logits_that_are_no_numbers_are_no_answer() -> None:
    table = _table(4, 3)
    table.images[2] = 0
    with pytest.raises(UserError, match=r"^dark, level 8: the network gives image 102 logits that"):
        predict(Standardising(), table, variant="dark", level=8, attack=None, seed=0, device="cpu")


def test_two_classes_leave_the_third_place_empty() -> None:
    table, (spec, weights) = _table(4, 2), _network(2)
    model = load_folded(spec, weights, "cpu")
    part = predict(model, table, variant="clean", level=0.0, attack=None, seed=0, device="cpu")
    assert (part.top3[:, 2] == -1).all()
    assert (part.probabilities[:, 2] == 0).all()
    np.testing.assert_allclose(part.probabilities.sum(1), 1, atol=1e-6)
