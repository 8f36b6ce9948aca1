"""From prediction tables to records, and to the few figures that DVC shows."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations

import numpy as np

from atcore.base.errors import UserError
from atcore.evaluation.predictions import ATTACKS, AUTO_ATTACKS, Predictions
from atcore.images.table import CLEAN
from atcore.measures.accuracy import accuracy, accuracy_on_correct, top3_accuracy
from atcore.measures.confidence import calibration_error, error_consistency, mean_confidence
from atcore.measures.conflicts import shape_bias, shape_rate, texture_rate
from atcore.report.records import CHANCE, Record, Results
from atcore.salience.measured import Measured
from atcore.statistics.estimates import Estimate, mean
from atcore.statistics.levels import middle
from atcore.statistics.proportions import Proportion
from atcore.statistics.seeds import spread

_ATTACKS = {*ATTACKS.values(), *AUTO_ATTACKS.values()}
_COLUMNS = [name for name in Record.__dataclass_fields__ if name not in ("other", "map")]
_CONSISTENCY = "error_consistency"
# Correlations, which may be negative.
_SIGNED = {
    _CONSISTENCY,
    "salience_rank_correlation",
    "salience_untrained_rank_correlation",
    "salience_ssim",
    "salience_edges",
}


def _proportions(part: Predictions, clean: Predictions) -> dict[str, Proportion | None]:
    if part.variant in _ATTACKS:
        return {
            "robust_accuracy": accuracy(part),
            "accuracy_on_correct": accuracy_on_correct(part, clean),
        }
    plain = {"accuracy": accuracy(part), "top3_accuracy": top3_accuracy(part)}
    if part.variant == CLEAN:
        return plain
    return {
        **plain,
        "accuracy_on_correct": accuracy_on_correct(part, clean),
        "shape_bias": shape_bias(part),
        "shape_rate": shape_rate(part),
        "texture_rate": texture_rate(part),
    }


def _measures(part: Predictions, clean: Predictions) -> dict[str, Estimate | None]:
    proportions = _proportions(part, clean).items()
    return {
        **{name: None if share is None else share.estimate for name, share in proportions},
        "confidence": mean_confidence(part),
        "calibration_error": calibration_error(part),
    }


def summarise(dataset: str, method: str, seed: int, parts: Sequence[Predictions]) -> list[Record]:
    """Every measure of every part of one network; one that no image counts for is left out.

    The first is `chance`, what it is worth to guess the most frequent class; it has no interval.

    Raises:
        UserError: the answers on clean images are missing.
    """
    clean = next((part for part in parts if part.variant == CLEAN), None)
    if clean is None:
        raise UserError(
            f"{dataset}, {method}, seed {seed}: the prediction table has no part {CLEAN!r}"
        )
    most = int(np.bincount(clean.labels, minlength=1).max())
    chance = most / max(1, len(clean.labels))
    guess = Record(
        dataset, method, CLEAN, 0.0, CHANCE, chance, chance, chance, len(clean.ids), seed
    )
    return [guess] + [
        Record(dataset, method, part.variant, part.level, measure, **asdict(found), seed=seed)
        for part in parts
        for measure, found in _measures(part, clean).items()
        if found is not None
    ]


def consistencies(
    dataset: str, seed: int, answers: Mapping[str, Sequence[Predictions]]
) -> list[Record]:
    """Error consistency of every pair of networks, on clean images and every level of a variant.

    Not under attack: there each network answers to images of its own.
    """
    records = []
    for (method, parts), (other, others) in combinations(answers.items(), 2):
        same = {(part.variant, part.level): part for part in others}
        for part in parts:
            counterpart = same.get((part.variant, part.level))
            if counterpart is None or part.variant in _ATTACKS:
                continue
            found = error_consistency(part, counterpart)
            if found is not None:
                place = (dataset, method, part.variant, part.level, _CONSISTENCY)
                records.append(Record(*place, **asdict(found), seed=seed, other=other))
    return records


def summarise_salience(
    dataset: str, method: str, seed: int, parts: Sequence[Measured]
) -> list[Record]:
    """The mean over images of every measure of one network's salience maps, where it has one."""
    records = []
    for part in parts:
        found = mean(part.values)
        if found is not None:
            place = (dataset, method, part.variant, part.level, f"salience_{part.measure}")
            records.append(Record(*place, **asdict(found), seed=seed, map=part.map))
    return records


def means(records: Iterable[Record]) -> list[Record]:
    """Of every measure its mean over seeds, in their order; none where fewer than two have it."""
    by_place: dict[Record, list[Record]] = {}
    for record in records:
        place = replace(record, value=0, low=0, high=0, n=0, seed=None)
        by_place.setdefault(place, []).append(record)
    found = []
    for place, same in by_place.items():
        least = -1.0 if place.measure in _SIGNED else 0.0
        over_seeds = spread([r.value for r in same], [r.n for r in same], least=least)
        if over_seeds is not None:
            found.append(replace(place, **asdict(over_seeds)))
    return found


def metrics(results: Results) -> dict[str, dict[str, float]]:
    """The main numbers of one dataset, {method: {name: value}}, for `dvc metrics show`.

    Names are `accuracy`, `robust_accuracy` (the lowest under any PGD attack), `auto_attack` (the
    same) and `shape_bias` (of the first variant with cue conflicts, at its middle level). Values
    have 4 digits.
    """
    wanted = {"accuracy": [(CLEAN, 0.0, "accuracy")]}
    for name, attacks in (("robust_accuracy", ATTACKS), ("auto_attack", AUTO_ATTACKS)):
        wanted[name] = [
            (attack, level, "robust_accuracy")
            for attack in attacks.values()
            for level in results.levels(attack, "robust_accuracy")
        ]
    for variant in results.variants("shape_bias")[:1]:
        level = middle(results.levels(variant, "shape_bias"))
        wanted["shape_bias"] = [(variant, level, "shape_bias")]
    found: dict[str, dict[str, float]] = {}
    for method in results.methods:
        values = {
            name: [record.value for key in keys if (record := results.get(method, *key))]
            for name, keys in wanted.items()
        }
        found[method] = {name: round(min(same), 4) for name, same in values.items() if same}
    return found


def curves_csv(records: Iterable[Record]) -> str:
    """What the figures draw of these records, long format, for other programs to draw.

    Accuracy on correctly classified images for the variants, robust accuracy for the attacks.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for r in records:
        drawn = "robust_accuracy" if r.variant in _ATTACKS else "accuracy_on_correct"
        if r.measure == drawn:
            writer.writerow([getattr(r, name) for name in _COLUMNS])
    return buffer.getvalue()
