"""Stages that show images to a model: which ones AutoAttack gets, and models that misfit."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from disk import read_table

from atcore.base.errors import UserError
from atcore.evaluation import predictions
from atcore.images.stored import write
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build, weights_to_bytes
from tasks import evaluate, salience, train
from tasks.cluster import pool
from tasks.workspace import paths, trained

PROJECT = Path(__file__).parents[2]
CLASSES = ("a", "b", "c", "d")
SPEC = ModelSpec("small", CLASSES, 16, (0.5,) * 3, (0.25,) * 3)
NETWORK = ("shapes", "standard", 0)
ARGUMENTS = ("shapes", "standard", "0")


def _in_order(
    function: Callable[..., Any], items: Iterable[Any], *shared: Any, total: int, **_: object
) -> list[Any]:
    results = [function(item, *shared) for item in items]
    assert len(results) == total
    return results


def _weights(spec: ModelSpec) -> bytes:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return weights_to_bytes(build(spec))


WEIGHTS = _weights(SPEC)


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and the images that it was made for; few of them are of the last class."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "connect", nullcontext)
    monkeypatch.setattr(pool, "spread", _in_order)
    monkeypatch.setattr(pool, "node", str)
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3], np.int32)
    write_images(ImageTable(np.arange(30, 42), images, labels, CLASSES))
    trained.write(*NETWORK, SPEC, WEIGHTS, {})
    configure([])


def write_images(images: ImageTable) -> None:
    write(images, paths.split("shapes", "test"))


def configure(auto_attack: list[dict[str, Any]], shard: int = 3) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["run"]["variants"] = []
    params["salience"] |= {"images": 2, "smooth_samples": 1}
    params["evaluate"] = {"robustness": [], "auto_attack": auto_attack, "shard": shard}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def entry(images: int, norm: str = "linf", eps: float = 0.2) -> dict[str, Any]:
    return {"images": images, "norm": norm, "eps": eps}


def test_auto_attack_gets_the_first_images_of_every_class() -> None:
    configure([entry(6), entry(2, "l2", 3)])
    evaluate.main(*ARGUMENTS)
    (clean, linf, l2), _ = predictions.read(paths.predictions(*NETWORK))
    assert clean.ids.tolist() == list(range(30, 42))
    assert (linf.variant, linf.level) == ("auto_attack_linf", 0.2)
    assert linf.ids.tolist() == [30, 31, 35, 36, 38, 41]
    assert linf.labels.tolist() == [0, 0, 1, 1, 2, 3]
    assert (l2.variant, l2.level, l2.ids.tolist()) == ("auto_attack_l2", 3, [30, 35])
    assert not linf.correct.any()
    assert clean.correct.any()
    first = paths.predictions(*NETWORK).read_bytes()
    evaluate.main(*ARGUMENTS)
    assert paths.predictions(*NETWORK).read_bytes() == first


Main = Callable[[str, str, str], None]


def message_of(main: Main) -> str:
    with pytest.raises(UserError) as caught:
        main(*ARGUMENTS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Before anything is trained, and again where only what is asked has changed since.
before_and_after_training = pytest.mark.parametrize("main", [train.main, evaluate.main])


@before_and_after_training
def test_more_images_than_there_are_cannot_be_attacked(main: Main) -> None:
    configure([entry(4), entry(13, "l2")])
    expected = "evaluate.auto_attack.1.images: 13 is not allowed; shapes has 12 test images"
    assert message_of(main) == expected


@before_and_after_training
def test_auto_attack_needs_four_classes(main: Main) -> None:
    images = read_table(paths.split("shapes", "test"))
    write_images(replace(images, labels=images.labels % 2, classes=("a", "b")))
    trained.write(
        *NETWORK, replace(SPEC, classes=("a", "b")), _weights(replace(SPEC, classes="ab")), {}
    )
    configure([entry(4)])
    assert message_of(main) == (
        "evaluate.auto_attack.0: not allowed for shapes, which has 2 classes; "
        "AutoAttack needs at least 4"
    )


DESCRIPTION, TENSORS = (
    "models/shapes/standard/0/model.json",
    "models/shapes/standard/0/model.safetensors",
)
MISFITS = {
    "other classes": (
        replace(SPEC, classes=("a", "b", "c", "e")),
        WEIGHTS,
        f"{DESCRIPTION}: a model whose class 3 is 'e', but in shapes it is 'd'; ",
    ),
    "fewer classes": (
        replace(SPEC, classes=("a", "b")),
        WEIGHTS,
        f"{DESCRIPTION}: a model of 2 classes, but shapes has 4; run the stage train again",
    ),
    "other size": (
        replace(SPEC, image_size=32),
        WEIGHTS,
        f"{DESCRIPTION}: a model of 32 px images, but those of shapes have 16 px; ",
    ),
    "other architecture": (
        replace(SPEC, architecture="resnet18"),
        WEIGHTS,
        f"{TENSORS}: model weights do not fit resnet18: ",
    ),
    "unknown architecture": (
        replace(SPEC, architecture="resnet19"),
        WEIGHTS,
        f"{TENSORS}: architecture: 'resnet19' is neither of this project nor of torchvision",
    ),
    "weights of more classes": (
        SPEC,
        _weights(replace(SPEC, classes=(*CLASSES, "e"))),
        f"{TENSORS}: model weights do not fit small: ",
    ),
    "cut short": (SPEC, WEIGHTS[:-10], f"{TENSORS}: model weights do not fit small: "),
}


@pytest.mark.parametrize("main", [evaluate.main, salience.main], ids=["evaluate", "salience"])
@pytest.mark.parametrize(("spec", "weights", "expected"), MISFITS.values(), ids=MISFITS.keys())
def test_a_model_that_does_not_fit_is_named(
    main: Callable[[str, str, str], None], spec: ModelSpec, weights: bytes, *, expected: str
) -> None:
    trained.write(*NETWORK, spec, weights, {})
    assert message_of(main).startswith(expected)


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', '{"architecture": "small"}', "\xff\0"])
def test_a_description_that_is_not_ours_is_named(text: str) -> None:
    Path(DESCRIPTION).write_text(text, "latin-1")
    assert message_of(evaluate.main) == (
        f"{DESCRIPTION}: not the description of a model, which names architecture, classes, "
        "image_size, mean, std"
    )
