"""Every method, variant and measure of the catalogues, on a few real images of two datasets."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from atcore_samples import split_of

from atcore.evaluation.asking import predict
from atcore.evaluation.predictions import ATTACKS
from atcore.images.decode import decode_shard
from atcore.images.pixels import channel_statistics
from atcore.images.table import CLEAN, ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import load_folded
from atcore.networks.models import weights_to_bytes
from atcore.networks.vgg import CONVOLUTIONS
from atcore.quality.outlines import edge_agreement, edge_correlations
from atcore.report.summary import summarise
from atcore.salience.explain import explain, untrained_network
from atcore.salience.maps import MapSettings
from atcore.salience.rows import Row
from atcore.sources.formats import load as load_source
from atcore.sources.splits import choose
from atcore.stylizing.adain import Stylizer
from atcore.stylizing.encoder import Encoder
from atcore.stylizing.transfer import Adain
from atcore.training.loop import train, trained_weights
from atcore.variants.kinds import vary
from atcore.variants.styling import UNTRAINED, Styling
from tasks.evaluate import evaluation_attack
from tasks.params import Robustness, load
from tasks.train import training_spec

SETTINGS = load(Path(__file__).parents[2] / "params.yaml")
ROBUSTNESS = [
    Robustness(norm="linf", eps=8 / 255, step_size=0.5, steps=2),
    Robustness(norm="l2", eps=0.5, step_size=0.5, steps=2),
    Robustness(norm="spatial", eps=0.5, step_size=0.5, steps=2),
]
AMOUNTS = {"train": 40, "validation": 20, "test": 40}
# What is measured on every variant, whatever it shows.
ON_VARIANTS = {
    "accuracy",
    "top3_accuracy",
    "accuracy_on_correct",
    "confidence",
    "calibration_error",
}
ON_CONFLICTS = {"shape_rate", "texture_rate"}


@dataclass(frozen=True)
class Images:
    dataset: str
    train: ImageTable
    validation: ImageTable
    test: ImageTable


@pytest.fixture(scope="module", params=["cifar10", "tiny_imagenet"])
def images(request: pytest.FixtureRequest, real_data: Path) -> Images:
    dataset: str = request.param
    own = SETTINGS.dataset[dataset]
    source = load_source(own.format, real_data / dataset.replace("_", "-"))
    labels = {split: entries.labels for split, entries in source.splits.items()}
    chosen = choose(labels, source.classes, AMOUNTS, 0, "images")
    tables = {}
    for split, which in chosen.items():
        encoded = source.read(which.source, which.indices)
        decoded = decode_shard([("x", data) for data in encoded], own.image_size)
        assert not decoded.problems
        tables[split] = ImageTable(
            ids=np.arange(len(decoded.images)),
            images=decoded.images,
            labels=labels[which.source][which.indices],
            classes=source.classes,
            origin={"format": own.format},
        )
    return Images(dataset, **tables)


@pytest.fixture(scope="module")
def variants(images: Images) -> dict[tuple[str, float], ImageTable]:
    """All of the catalogue at all levels; the stylizer is one that nobody has trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder((16,) * len(CONVOLUTIONS))
        for layer in encoder.features:
            if isinstance(layer, torch.nn.Conv2d):
                # With torch's own initialisation nothing of the image comes through nine layers.
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        untrained = Stylizer(encoder).to_bytes()
    adain = Styling(Adain(untrained, "untrained", size=64), side=64)
    return {
        (name, level): vary(
            chosen.kind,
            images.test,
            level,
            images.test,
            0,
            UNTRAINED if SETTINGS.transfer(name) is None else adain,
        )
        for name, chosen in SETTINGS.variant.items()
        for level in chosen.levels
    }


@pytest.fixture(scope="module")
def model_spec(images: Images) -> ModelSpec:
    mean, std = channel_statistics([torch.from_numpy(images.train.images)])
    size = images.train.images.shape[1]
    return ModelSpec("small", images.train.classes, size, mean, std)


def test_every_variant_changes_every_image_and_says_what_it_keeps(
    images: Images, variants: dict[tuple[str, float], ImageTable]
) -> None:
    assert {name for name, _ in variants} == set(SETTINGS.variant)
    for (name, level), table in variants.items():
        changed = (table.images != images.test.images).any(axis=(1, 2, 3))
        assert changed.all(), (name, level)
        np.testing.assert_array_equal(table.labels, images.test.labels)
        kept = edge_agreement(edge_correlations(images.test.images, [table.images]))
        assert kept is not None
        assert -1 <= kept.low <= kept.value <= kept.high <= 1
        if "conflict" in name:
            assert table.texture_labels is not None
            assert (table.texture_labels != table.labels).all()


@pytest.mark.parametrize("method", SETTINGS.method)
def test_every_method_trains_and_gets_every_measure(
    method: str,
    images: Images,
    variants: dict[tuple[str, float], ImageTable],
    model_spec: ModelSpec,
) -> None:
    chosen = training_spec(SETTINGS, images.dataset, method, 0)
    stop = 0.0 if SETTINGS.method[method].stop_at else None
    spec = replace(chosen, epochs=1, batch_size=20, threads=1, stop_at_accuracy=stop)
    splits = (split_of(images.train), split_of(images.validation))
    *_, last = train(spec, model_spec, *splits)
    assert last.finished == ("epochs" if stop is None else "accuracy")
    assert np.isfinite(last.history[-1].loss)
    assert (last.history[-1].validation_robust_accuracy is None) == (chosen.attack is None)

    network = weights_to_bytes(trained_weights(last.checkpoint, model_spec))
    model = load_folded(model_spec, network, "cpu")
    jobs = [
        (CLEAN, 0.0, None, images.test),
        *((ATTACKS[r.norm], r.eps, evaluation_attack(r), images.test) for r in ROBUSTNESS),
        *((name, level, None, table) for (name, level), table in variants.items()),
    ]
    records = summarise(
        images.dataset,
        method,
        0,
        [
            predict(model, table, variant=name, level=level, attack=attack, seed=0, device="cpu")
            for name, level, attack, table in jobs
        ],
    )
    found: dict[str, set[str]] = {}
    for record in records:
        found.setdefault(record.variant, set()).add(record.measure)
        assert 0 <= record.low <= record.value <= record.high <= 1
    # An untrained network may be right on no image at all, and then nothing is counted.
    right = any(r.variant == CLEAN and r.measure == "accuracy" and r.value for r in records)
    expected = ON_VARIANTS if right else ON_VARIANTS - {"accuracy_on_correct"}
    for name in SETTINGS.variant:
        wanted = expected | (ON_CONFLICTS if "conflict" in name else set())
        assert found[name] - {"shape_bias"} == wanted, name
    for attack in ATTACKS.values():
        assert "robust_accuracy" in found[attack]


def rows_of(variants: dict[tuple[str, float], ImageTable]) -> Iterator[Row]:
    yield Row(CLEAN, 0.0, moved=False)
    for name, level in variants:
        yield Row(name, level, moved=SETTINGS.variant[name].kind == "patch_shuffled")


def test_every_kind_of_map_is_measured_on_every_variant(
    images: Images, variants: dict[tuple[str, float], ImageTable], model_spec: ModelSpec
) -> None:
    models = [untrained_network(model_spec, b"", seed, "cpu") for seed in (0, 1)]
    rows, few = list(rows_of(variants)), slice(0, 2)
    tables = [table.rows(few) for table in (images.test, *variants.values())]
    counts = dict.fromkeys(SETTINGS.salience.measured, 2)
    settings = MapSettings(samples=2, noise=0.15, steps=2, baseline=model_spec.mean, seed=0)
    explained = explain(*models, rows, tables, counts, settings, "cpu")
    for row in rows:
        wanted = {"gini"} | ({"edges"} if not row.moved else set())
        if row.variant == CLEAN:
            wanted |= {"untrained_rank_correlation"}
        else:
            wanted |= {"rank_correlation", "ssim"}
        for kind in counts:
            own = {
                part.measure: part.values
                for part in explained.measured
                if (part.variant, part.level, part.map) == (row.variant, row.level, kind)
            }
            assert own.keys() == wanted, (row, kind)
            assert all(len(values) == 2 for values in own.values())
