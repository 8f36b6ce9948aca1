"""Small artifacts of all stages before the report, and a reader of its page."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.numpy import save_file

from atcore.evaluation import predictions
from atcore.evaluation.predictions import ATTACKS, AUTO_ATTACKS, Predictions
from atcore.foreign.given import Facts
from atcore.images.table import CLEAN
from atcore.quality.results import Probe, Quality
from atcore.salience import measured
from atcore.salience.measured import Measured
from atcore.statistics.estimates import Estimate
from tasks.workspace import paths

ROOT = Path(__file__).parents[3]
IMAGES = 40
ATTACKED = 20  # by AutoAttack
# Markup in names has to arrive in the page as text; the $ must not start a formula in a figure.
UNREADABLE = ("a.jpg", "b<i>.jpg", "c.jpg", "d.jpg")
CLASSES = ("<b>disc</b>", "square & co", "$x$", "plus")
ROBUST = "λ-pgd_linf"
# Trained elsewhere; what is found of it is the user's too.
GIVEN = "my_own"
FACTS = Facts("mine<u>.pth", "resnet18 (torchvision)", 11_689_512, ("Taken <b>off</b>: module.",))
# Correct answers among 40 images: (clean, attack at 4/255, at 8/255, stylized, by shape,
# by texture); the rest of the answers name another class.
COUNTS = {
    "standard": (40, 4, 0, 10, 2, 36),
    "underfit": (30, 4, 0, 8, 2, 36),
    ROBUST: (36, 34, 32, 30, 38, 1),
}
GIVEN_COUNTS = (38, 30, 26, 12, 30, 6)


def _part(variant: str, level: float, right: int, by_texture: int | None = None) -> Predictions:
    ids = np.arange(IMAGES, dtype=np.int64)
    true = (ids % len(CLASSES)).astype(np.int32)
    texture = (true + 1) % len(CLASSES)
    predicted = np.where(ids < right, true, (true + 2) % len(CLASSES))
    if by_texture is not None:
        predicted = np.where((ids >= right) & (ids < right + by_texture), texture, predicted)
    top3 = np.stack([predicted, (predicted + 1) % 4, (predicted + 3) % 4], 1).astype(np.int32)
    return Predictions(
        variant=variant,
        level=level,
        ids=ids,
        labels=true,
        top3=top3,
        probabilities=np.tile(np.array([0.7, 0.2, 0.1], np.float32), (IMAGES, 1)),
        texture_labels=None if by_texture is None else texture.astype(np.int32),
    )


def _first(part: Predictions, count: int) -> Predictions:
    return replace(
        part,
        ids=part.ids[:count],
        labels=part.labels[:count],
        top3=part.top3[:count],
        probabilities=part.probabilities[:count],
    )


def parts_of(method: str, seed: int = 0) -> list[Predictions]:
    """Seed 1 has two more right answers to stylized images than seed 0."""
    clean, attack4, attack8, stylized, shape, texture = COUNTS.get(method, GIVEN_COUNTS)
    return [
        _part(CLEAN, 0.0, clean),
        _part("pgd_linf", 4 / 255, attack4),
        _part("pgd_linf", 8 / 255, attack8),
        _part("pgd_l2", 1.0, attack8),
        _first(_part("auto_attack_linf", 8 / 255, attack8), ATTACKED),
        _part("stylized", 0.6, stylized + 2 * seed),
        *(_part("patch_shuffled", k, 20) for k in (2.0, 4.0, 8.0)),
        *(_part("saturated", p, 39) for p in (1.0, 64.0)),
        _part("cue_conflict", 0.6, shape, texture),
    ]


def write_params(**run: object) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["method"][ROBUST] = values["method"]["pgd_linf_8"]
    values["network"][GIVEN] = values["network"]["my_network"]
    values["method"]["underfit"]["stop_at"] = ROBUST
    values["run"] |= {
        "datasets": ["shapes"],
        "methods": ["standard", ROBUST],
        "controls": ["underfit"],
        **run,
    }
    Path("params.yaml").write_text(yaml.safe_dump(values))


def write_maps(file: Path, rows: list[tuple[str, float]]) -> None:
    file.parent.mkdir(parents=True)
    rng = np.random.default_rng(0)
    shape = (len(rows), 4, 8, 8)
    tensors: dict[str, NDArray[np.generic]] = {
        "images": rng.integers(0, 256, (*shape, 3)).astype(np.uint8),
        "gradient": rng.random(shape).astype(np.float32),
        "smoothgrad": np.zeros(shape, np.float32),
        "predicted": np.ones(shape[:2], np.int32),
        "labels": np.arange(4, dtype=np.int32),
    }
    metadata = [{"variant": variant, "level": level} for variant, level in rows]
    save_file(tensors, file, {"rows": json.dumps(metadata)})


def write_measures(method: str, seed: int, rows: list[tuple[str, float]]) -> None:
    """Measures of 12 images; the salience of the last method is on the outline."""
    outline = 0.375 if method == ROBUST else 0.125 + seed / 8
    ids = np.arange(12, dtype=np.int64)

    def part(variant: str, level: float, kind: str, measure: str, value: float) -> Measured:
        values = np.full(12, value, np.float32)
        values[:4] += 1 / 64 * (ids[:4] - 1.5)
        return Measured(variant, level, kind, measure, ids, values)

    parts = [
        part(CLEAN, 0.0, "uniform", "outline", 0.25),
        *(part(CLEAN, 0.0, kind, "outline", outline) for kind in ("gradient", "smoothgrad")),
        part(CLEAN, 0.0, "gradient", "untrained_rank_correlation", -0.25),
        *(part(*row, "gradient", "gini", 0.5) for row in rows),
        *(part(*row, "gradient", "rank_correlation", 0.75) for row in rows[1:]),
    ]
    measured.write(parts, paths.salience_measures("shapes", method, seed))


def _write_answers(method: str, seed: int) -> None:
    """And what the network looked at."""
    parts = parts_of(method, seed)
    predictions.write(parts, CLASSES, paths.predictions("shapes", method, seed))
    attacks = (*ATTACKS.values(), *AUTO_ATTACKS.values())
    kept = [(part.variant, part.level) for part in parts if part.variant not in attacks]
    write_maps(paths.salience_maps("shapes", method, seed), kept)
    write_measures(method, seed, kept)


def _write_method(method: str, seed: int) -> None:
    _write_answers(method, seed)
    adversarial = method == ROBUST
    training = {
        "method": method,
        "finished": "collapse" if adversarial else "epochs",
        "epochs": 2,
        "target_accuracy": 0.9 if method == "underfit" else None,
        "validation_accuracy": 0.75,
        "validation_robust_accuracy": 0.5 if adversarial else None,
        "precision": "bf16" if adversarial and seed == 0 else "fp32",
    }
    paths.curve("shapes", method, seed).parent.mkdir(parents=True, exist_ok=True)
    paths.training("shapes", method, seed).write_text(json.dumps(training))
    robust = "0.5" if adversarial else ""
    paths.curve("shapes", method, seed).write_text(
        "epoch,loss,accuracy,validation_accuracy,validation_robust_accuracy\n"
        f"1,1.2,0.5,0.6,{robust}\n2,0.9,0.7,0.75,{robust}\n"
    )


def write_quality() -> None:
    """Edges of every level of the run; a probe of `stylized` alone."""
    share = Estimate(0.75, 0.5, 0.875, IMAGES)
    probe = Probe(0.6, 1 / 4, shape=share, texture=Estimate(0.25, 0.125, 0.5, IMAGES))
    levels = {
        "stylized": (0.6,),
        "saturated": (1.0, 64.0),
        "patch_shuffled": (2.0, 4.0, 8.0),
        "cue_conflict": (0.6,),
    }
    for name, own in levels.items():
        file = paths.quality("shapes", name)
        file.parent.mkdir(exist_ok=True, parents=True)
        edges = {level: None if level == 64 else share for level in own}
        file.write_text(Quality(edges, probe if name == "stylized" else None).to_json())


def write_given() -> None:
    """A network that was trained elsewhere; `run.networks` has to name it."""
    _write_answers(GIVEN, 0)
    paths.training("shapes", GIVEN, 0).parent.mkdir(parents=True)
    paths.training("shapes", GIVEN, 0).write_text(FACTS.to_json())


def write_artifacts(*seeds: int) -> None:
    write_params(seeds=list(seeds))
    info = {
        "classes": CLASSES,
        "counts": {"train": 80, "validation": 20, "test": IMAGES},
        "unreadable": UNREADABLE,
    }
    paths.dataset_info("shapes").parent.mkdir(parents=True)
    paths.dataset_info("shapes").write_text(json.dumps(info))
    write_quality()
    for method in COUNTS:
        for seed in seeds:
            _write_method(method, seed)


class Page(HTMLParser):
    """Text, names of elements and sources of images."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
