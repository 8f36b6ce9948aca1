"""One measured number and where it belongs: the rows of reports/summary.json.

Imports nothing heavy, so that results can be shown in an instant.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property

CHANCE = "chance"


@dataclass(frozen=True)
class Record:
    """One measure of `n` images with its 95% interval, low <= value <= high.

    All are in [0, 1], correlations and `error_consistency` in [-1, 1]. Of one network, the interval
    is over the images; of several, which differ in the seed alone, the value is their mean and the
    interval is over seeds.

    Attributes:
        variant: `clean`, the name of a variant, or an attack.
        level: 0 for clean images, the variant's level, or the attack's eps: on the [0, 1] scale,
            in pixels for `pgd_spatial`.
        measure: `chance` (the accuracy of a guess), `accuracy`, `top3_accuracy`,
            `accuracy_on_correct`, `robust_accuracy`, `shape_bias`, `shape_rate`, `texture_rate`,
            `confidence`, `calibration_error`, `error_consistency`, or `salience_` and a measure of
            `atcore.salience.measured`.
        n: images that count; of a mean the fewest of any seed.
        seed: of the network, or None of a mean.
        seeds: how many networks the value is of.
        min, max: of one network, where the value is a mean; else None.
        other: the second method of a measure of two, or None.
        map: the kind of salience map, or None.
    """

    dataset: str
    method: str
    variant: str
    level: float
    measure: str
    value: float
    low: float
    high: float
    n: int
    seed: int | None
    seeds: int = 1
    min: float | None = None
    max: float | None = None
    other: str | None = None
    map: str | None = None


def dumps(records: Iterable[Record]) -> str:
    """JSON, one record a line; equal records give equal text."""
    lines = (json.dumps(asdict(record), allow_nan=False) for record in records)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def loads(text: str) -> list[Record]:
    return [Record(**fields) for fields in json.loads(text)]


@dataclass(frozen=True)
class Results:
    """The records of one dataset, by what they measure."""

    records: tuple[Record, ...]

    @cached_property
    def shown(self) -> tuple[Record, ...]:
        """Of each method the means over seeds where there are any, else those of the only seed."""
        averaged = {r.method for r in self.records if r.seed is None}
        return tuple(r for r in self.records if r.seed is None or r.method not in averaged)

    @cached_property
    def _index(self) -> dict[tuple[str, str, float, str, str | None, str | None], Record]:
        return {(r.method, r.variant, r.level, r.measure, r.other, r.map): r for r in self.shown}

    def get(
        self,
        method: str,
        variant: str,
        level: float,
        measure: str,
        other: str | None = None,
        map: str | None = None,
    ) -> Record | None:
        return self._index.get((method, variant, level, measure, other, map))

    def guessing(self, method: str) -> list[int]:
        """Seeds whose network is not clearly better than a guess on clean images.

        Such a network may give every image the same class, and so keep all of its accuracy
        whatever is destroyed: nothing that it does says what it looks at.
        """
        clean = [r for r in self.records if (r.method, r.variant) == (method, "clean")]
        chance = {r.seed: r.value for r in clean if r.measure == CHANCE}
        return [
            r.seed
            for r in clean
            if r.measure == "accuracy" and r.seed is not None and r.low <= chance[r.seed]
        ]

    def maps(self, measure: str) -> list[str]:
        """Kinds of salience map of which `measure` was taken, in the order of the records."""
        return list(dict.fromkeys(r.map for r in self.shown if r.measure == measure and r.map))

    @property
    def methods(self) -> list[str]:
        """In the order of the records, whether they are means or not."""
        return list(dict.fromkeys(record.method for record in self.records))

    def variants(self, measure: str) -> list[str]:
        """Variants on which `measure` was taken, in the order of the records."""
        return list(dict.fromkeys(r.variant for r in self.shown if r.measure == measure))

    def levels(self, variant: str, measure: str) -> list[float]:
        """Levels of `variant` at which `measure` was taken for any method, in rising order."""
        return sorted(
            {r.level for r in self.shown if r.variant == variant and r.measure == measure}
        )
