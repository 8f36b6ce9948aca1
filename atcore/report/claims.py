"""The paper's claims, each tested by itself on every pair of networks it speaks of.

An adversarially trained network is held against each ordinary one, the control of equal clean
accuracy among them. Of a network that was trained elsewhere nothing is claimed, but that it differs
from the first ordinary one. The claims of a run are one family, and these are another: the p-values
of each are corrected together. Nothing here knows how a run ought to end.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TypeVar

from atcore.evaluation.predictions import Predictions
from atcore.images.table import CLEAN
from atcore.measures.accuracy import kept, right
from atcore.measures.conflicts import shape_decisions
from atcore.report.inputs import Dataset
from atcore.salience.measured import Measured
from atcore.statistics.comparison import Comparison, holm, paired, paired_means
from atcore.statistics.outcomes import Outcomes, Slopes, slopes

SUPPORTED, NOT_SUPPORTED, NOT_DECIDED = "supported", "not supported", "not decided"
MORE, LESS = "more", "less"
_ALPHA = 0.05

# Which cue a kind of variant destroys. Without texture a network that relies on shape keeps more
# of its accuracy (+1), without shape it keeps less (-1).
DESTROYS = {"stylized": "texture", "saturated": "texture", "patch_shuffled": "shape"}
_CLAIMED = {"texture": 1, "shape": -1}
# Saturation below its identity lowers the contrast of everything; that destroys neither cue.
_IDENTITY = {"saturated": 2.0}

# What grows with the level, by kind of variant: the more patches, the less is left of the shape.
_GROWS = {"patch_shuffled"}
ON_CORRECT, SLOPE = "accuracy_on_correct", "accuracy_on_correct_slope"
SHAPE_BIAS, ROBUST = "shape_bias", "robust_accuracy"

# How much salience follows outlines: those of the object where they are known, else all edges.
# Asked of the Grad map, the only one of the paper without a parameter.
_SALIENCE = ("salience_outline", "salience_edges")
SALIENCE_MAP = "gradient"

Table = TypeVar("Table")
Found = TypeVar("Found")
Sample = TypeVar("Sample")


@dataclass(frozen=True)
class Claim:
    """`method` has more (or less) of `measure` than `reference`, over all seeds and levels.

    Of saturation the levels above its identity, p = 2, count.

    Attributes:
        method: an adversarially trained network, or one that was trained elsewhere.
        reference: an ordinary one. Networks of equal seed are compared.
        measure: `accuracy_on_correct`, on the images that both networks classify correctly when
            clean, `accuracy_on_correct_slope`, its change from one level to the next, on the same
            images, `shape_bias`, on those where both decide for the shape or the texture,
            `robust_accuracy`, on all that are attacked, or `salience_outline` (`salience_edges`
            where outlines are unknown) of the Grad map.
        claimed: sign of the difference that the paper claims; 0 where it claims none, of a network
            that was trained elsewhere: then the question is whether there is any.
        comparison: `method` minus `reference`; None where no image counts for both.
        effects: the same difference at each level by itself, in rising order of levels; of a slope
            between each level and the next.
        effects_by_seed: and at each seed, None where no image counts for both.
        p: of the comparison, corrected for the number of claims of the run; None without one.
    """

    dataset: str
    method: str
    reference: str
    variant: str
    measure: str
    claimed: int
    comparison: Comparison | None = None
    effects: tuple[float, ...] = ()
    effects_by_seed: tuple[float | None, ...] = ()
    p: float | None = None

    @property
    def _found(self) -> int:
        """Sign of the difference over all seeds and levels."""
        return 1 if self.comparison is not None and self.comparison.effect > 0 else -1

    @property
    def levels_as_claimed(self) -> int:
        """At how many levels (of a slope: steps between them) the difference has the claimed sign,
        or that of the whole where none is claimed; whether or not by chance."""
        return sum(effect * (self.claimed or self._found) > 0 for effect in self.effects)

    @property
    def seeds_as_claimed(self) -> int:
        """At how many seeds it has."""
        sign = self.claimed or self._found
        return sum((effect or 0) * sign > 0 for effect in self.effects_by_seed)

    @property
    def verdict(self) -> str:
        """`supported` or `not supported` (the opposite holds), else `not decided`.

        Where no sign is claimed, `more` or `less`, or `not decided` too.

        The test draws images, not trainings: networks of another seed might differ. So it decides
        only where every seed says the same.
        """
        if self.comparison is None or self.p is None or self.p >= _ALPHA:
            return NOT_DECIDED
        sign = self._found
        if not all((effect or 0) * sign > 0 for effect in self.effects_by_seed):
            return NOT_DECIDED
        if not self.claimed:
            return MORE if sign > 0 else LESS
        return SUPPORTED if sign == self.claimed else NOT_SUPPORTED


def _outcomes(parts: Sequence[Predictions], variant: str, measure: str) -> dict[float, Outcomes]:
    """Which images count for `measure`, and which are hits, by level of `variant`."""
    clean = next(part for part in parts if part.variant == CLEAN)

    def count(part: Predictions) -> Outcomes:
        if measure == SHAPE_BIAS:
            return shape_decisions(part)
        return right(part) if measure == ROBUST else kept(part, clean)

    return {part.level: count(part) for part in parts if part.variant == variant}


def _salience(parts: Sequence[Measured], variant: str, measure: str) -> dict[float, Measured]:
    """The values of `measure`, by level of `variant`."""
    return {
        part.level: part
        for part in parts
        if (part.variant, part.map, f"salience_{part.measure}") == (variant, SALIENCE_MAP, measure)
    }


def _slopes(levels: Sequence[Outcomes]) -> list[Slopes]:
    return [slopes(levels)]


def _each(levels: Sequence[float]) -> Iterable[tuple[float, ...]]:
    return ((level,) for level in levels)


def _compared(dataset: Dataset, claim: Claim) -> Claim:
    answers = dataset.answers
    if claim.measure in _SALIENCE:
        return _over_all(dataset, claim, dataset.salience, _salience, list, paired_means, _each)
    if claim.measure == SLOPE:
        return _over_all(dataset, claim, answers, _outcomes, _slopes, paired_means, pairwise)
    return _over_all(dataset, claim, answers, _outcomes, list, paired, _each)


def _of_each_seed(dataset: Dataset, tables: Sequence[Table]) -> Sequence[Table]:
    """What was trained elsewhere is the same network beside every seed."""
    return list(tables) * len(dataset.seeds) if len(tables) == 1 else tables


def _over_all(
    dataset: Dataset,
    claim: Claim,
    tables: Mapping[str, Sequence[Table]],
    sample: Callable[[Table, str, str], dict[float, Found]],
    joined: Callable[[Sequence[Found]], list[Sample]],
    compare: Callable[[Sequence[Sample], Sequence[Sample]], Comparison | None],
    parts: Callable[[Sequence[float]], Iterable[tuple[float, ...]]],
) -> Claim:
    """The claim with its comparisons.

    Args:
        tables: of each method, one for each seed.
        sample: of a table, variant and measure: what was found, by level.
        joined: what is compared of one network at several levels, in rising order.
        compare: two networks, given by what is compared of them.
        parts: the levels of each of the `effects`.
    """
    first, second = (
        [sample(table, claim.variant, claim.measure) for table in _of_each_seed(dataset, own)]
        for own in (tables[claim.method], tables[claim.reference])
    )
    identity = _IDENTITY.get(dataset.kinds.get(claim.variant, CLEAN), -math.inf)
    networks = dict(zip(dataset.seeds, zip(first, second, strict=True), strict=True))
    levels = sorted(
        level
        for level in set.intersection(*({*one} & {*other} for one, other in networks.values()))
        if level > identity
    )

    def over(seeds: Sequence[int], chosen: Sequence[float]) -> Comparison | None:
        one, other = (
            [
                each
                for seed in seeds
                for each in joined([networks[seed][side][level] for level in chosen])
            ]
            for side in (0, 1)
        )
        return compare(one, other)

    by_level = (over(dataset.seeds, part) for part in parts(levels))
    by_seed = (over([seed], levels) for seed in dataset.seeds)
    return replace(
        claim,
        comparison=over(dataset.seeds, levels),
        effects=tuple(found.effect for found in by_level if found is not None),
        effects_by_seed=tuple(found.effect if found else None for found in by_seed),
    )


def _claimed(dataset: Dataset) -> Iterable[tuple[str, str, int]]:
    """Variant, measure and sign of what the paper claims of every pair of networks."""
    for variant, kind in dataset.kinds.items():
        if kind in DESTROYS:
            yield variant, ON_CORRECT, _CLAIMED[DESTROYS[kind]]
            if kind in _GROWS and len(dataset.results.levels(variant, ON_CORRECT)) > 1:
                yield variant, SLOPE, _CLAIMED[DESTROYS[kind]]
        elif variant in dataset.results.variants(SHAPE_BIAS):
            yield variant, SHAPE_BIAS, 1
    for measure in _salience_measures(dataset):
        yield CLEAN, measure, 1


def _salience_measures(dataset: Dataset) -> list[str]:
    return [name for name in _SALIENCE if SALIENCE_MAP in dataset.results.maps(name)]


def _asked(dataset: Dataset) -> Iterable[tuple[str, str, int]]:
    """Variant and measure in which a network that was trained elsewhere may differ; no sign."""
    results = dataset.results
    for variant in dataset.kinds:
        own = (name for name in (ROBUST, SHAPE_BIAS) if variant in results.variants(name))
        yield variant, next(own, ON_CORRECT), 0
    for measure in _salience_measures(dataset):
        yield CLEAN, measure, 0


def _claims(dataset: Dataset) -> list[Claim]:
    networks = [each for each in dataset.networks if not dataset.results.guessing(each.method)]
    ordinary = [each for each in networks if each.ordinary]
    plain = [each for each in ordinary if each.stop_at is None]
    claims = [
        Claim(dataset.name, network.method, reference.method, variant, measure, claimed)
        for group, references, questions in (
            ([each for each in networks if each.adversarial], ordinary, _claimed),
            ([each for each in networks if each.facts is not None], plain[:1], _asked),
        )
        for network in group
        for reference in references
        for variant, measure, claimed in questions(dataset)
    ]
    return [_compared(dataset, claim) for claim in claims]


def _corrected(claims: Sequence[Claim]) -> list[Claim]:
    """One family, corrected for its number: those that an image can test."""
    corrected = iter(holm([claim.comparison.p for claim in claims if claim.comparison]))
    return [replace(claim, p=next(corrected)) if claim.comparison else claim for claim in claims]


def claims_of(datasets: Iterable[Dataset]) -> list[Claim]:
    """All claims of a run, by dataset and pair of networks, and then those without a sign.

    Of networks that are no better than a guess nothing is claimed.
    """
    claims = [claim for dataset in datasets for claim in _claims(dataset)]
    papers, others = ([c for c in claims if bool(c.claimed) is signed] for signed in (True, False))
    return [*_corrected(papers), *_corrected(others)]


def claims_json(claims: Iterable[Claim]) -> str:
    """JSON, one claim with its verdict a line; equal claims give equal text."""
    lines = (
        json.dumps(asdict(claim) | {"verdict": claim.verdict}, allow_nan=False) for claim in claims
    )
    return "[\n" + ",\n".join(lines) + "\n]\n"
