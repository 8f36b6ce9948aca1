"""What the numbers say about the paper's claims, in sentences computed from them.

Two networks differ where their 95% intervals do not overlap; that is a stricter test than one at
the 5% level (Schenker & Gentleman 2001, "On judging the significance of differences by examining
the overlap between confidence intervals", The American Statistician 55). Nothing here knows how a
run ought to end.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from atcore.predictions import CLEAN
from atcore.report import labels
from atcore.report.inputs import Dataset, Network
from atcore.report.records import Record, Results, middle

# Which cue a kind of variant destroys. Without texture a network that relies on shape keeps more
# of its accuracy (+1), without shape it keeps less (-1).
DESTROYS = {"stylized": "texture", "saturated": "texture", "patch_shuffled": "shape"}
_CLAIMED = {"texture": 1, "shape": -1}
# So many of the unreadable images are named on the page; dataset.json names all.
_NAMED = 3


def compare(first: Record, second: Record) -> int:
    """1 or -1 where `first` is higher or lower than `second`, 0 where their intervals overlap."""
    return int(first.low > second.high) - int(first.high < second.low)


@dataclass(frozen=True)
class Tally:
    """How often a comparison went as the paper claims, the other way, or neither."""

    claimed: int
    unclear: int
    opposite: int

    @property
    def total(self) -> int:
        return self.claimed + self.unclear + self.opposite


@dataclass(frozen=True)
class Check:
    """All claims for one adversarially trained network against one that is not.

    Attributes:
        tallies: over the levels, by variant; the shape bias stands under the variant it was
            measured on.
    """

    method: str
    reference: str
    tallies: Mapping[str, Tally]


def tally(
    results: Results, method: str, reference: str, *, variant: str, measure: str, claimed: int
) -> Tally:
    """Compare `method` with `reference` at every level of `variant` that both have."""
    outcomes = []
    for level in results.levels(variant, measure):
        first = results.get(method, variant, level, measure)
        second = results.get(reference, variant, level, measure)
        if first is not None and second is not None:
            outcomes.append(compare(first, second) * claimed)
    return Tally(outcomes.count(1), outcomes.count(0), outcomes.count(-1))


def _tallies(dataset: Dataset, method: str, reference: str) -> dict[str, Tally]:
    found = {}
    for variant, kind in dataset.kinds.items():
        if kind in DESTROYS:
            measure, claimed = "accuracy_on_correct", _CLAIMED[DESTROYS[kind]]
        elif variant in dataset.results.variants("shape_bias"):
            measure, claimed = "shape_bias", 1
        else:
            continue
        found[variant] = tally(
            dataset.results, method, reference, variant=variant, measure=measure, claimed=claimed
        )
    return found


def checks(dataset: Dataset) -> list[Check]:
    """Every adversarially trained network against every other one."""
    return [
        Check(
            network.method,
            reference.method,
            _tallies(dataset, network.method, reference.method),
        )
        for network in dataset.networks
        if network.adversarial
        for reference in dataset.networks
        if not reference.adversarial
    ]


def _robustness(results: Results, network: Network) -> float:
    found = [
        r.value
        for r in results.records
        if r.method == network.method and r.measure == "robust_accuracy"
    ]
    return sum(found) / len(found) if found else 0.0


def pair(dataset: Dataset) -> tuple[str, str] | None:
    """The two networks of the headline: the most robust one, and the first ordinary one.

    The most robust is the adversarially trained network with the highest mean robust accuracy, a
    choice that does not look at shape or texture. None where the run has no such pair.
    """
    ordinary = [n for n in dataset.networks if not n.adversarial]
    adversarial = [n for n in dataset.networks if n.adversarial]
    if not ordinary or not adversarial:
        return None
    most_robust = max(adversarial, key=lambda n: _robustness(dataset.results, n))
    return most_robust.method, ordinary[0].method


def headline(dataset: Dataset) -> str:
    """One sentence: does the most robust network rely more on shape than the ordinary one?"""
    chosen = pair(dataset)
    if chosen is None:
        return "This run has no adversarially trained network beside an ordinary one to compare."
    method, reference = chosen
    results = dataset.results
    for variant in results.variants("shape_bias"):
        level = middle(results.levels(variant, "shape_bias"))
        first = results.get(method, variant, level, "shape_bias")
        second = results.get(reference, variant, level, "shape_bias")
        if first is not None and second is not None:
            verdict = {
                1: "relies more on shape than",
                -1: "relies less on shape than",
                0: "does not clearly differ in shape bias from",
            }[compare(first, second)]
            return (
                f"{method} {verdict} {reference}: where shape and texture disagree, "
                f"{labels.full(first)} of its decisions follow the shape, "
                f"against {labels.full(second)}."
            )
    return f"No image on which shape and texture disagree tells {method} from {reference}."


def findings(dataset: Dataset) -> list[str]:
    """Sentences on the same two networks: robustness, and what each destroyed cue costs."""
    chosen = pair(dataset)
    if chosen is None:
        return []
    method, reference = chosen
    results = dataset.results
    sentences = []
    for attack in results.variants("robust_accuracy"):
        level = results.levels(attack, "robust_accuracy")[-1]
        first = results.get(method, attack, level, "robust_accuracy")
        second = results.get(reference, attack, level, "robust_accuracy")
        clean = [results.get(name, CLEAN, 0.0, "accuracy") for name in chosen]
        if first and second and clean[0] and clean[1]:
            sentences.append(
                f"Under {labels.part(attack, attack, level)}, {method} classifies "
                f"{labels.full(first)} correctly and {reference} {labels.full(second)}; "
                f"without attack {labels.percent(clean[0].value)} and "
                f"{labels.percent(clean[1].value)}."
            )
    for variant, kind in dataset.kinds.items():
        if kind in DESTROYS:
            sentences.extend(_cost(results, method, reference, variant, kind))
    return sentences


def _cost(results: Results, method: str, reference: str, variant: str, kind: str) -> list[str]:
    """What destroying a cue costs, at all levels and at the middle one."""
    measure = "accuracy_on_correct"
    levels = results.levels(variant, measure)
    first = results.get(method, variant, middle(levels), measure)
    second = results.get(reference, variant, middle(levels), measure)
    if first is None or second is None:
        return []
    verdict = {1: "clearly more", -1: "clearly fewer", 0: "no clear difference"}
    sentence = (
        f"With {DESTROYS[kind]} destroyed ({labels.part(variant, kind, middle(levels))}), {method} "
        f"keeps {labels.full(first)} of its correct answers and {reference} "
        f"{labels.full(second)}: {verdict[compare(first, second)]}."
    )
    count = tally(results, method, reference, variant=variant, measure=measure, claimed=1)
    if count.total > 1:
        sentence += (
            f" Over all {count.total} levels: more at {count.claimed}, fewer at {count.opposite}, "
            f"no clear difference at {count.unclear}."
        )
    return [sentence]


def notes(dataset: Dataset) -> list[str]:
    """What a reader must know before believing the numbers: failed training, missing images."""
    found = []
    for network in dataset.networks:
        training = network.training
        if training.finished == "collapse":
            found.append(
                f"{network.method}: its robustness collapsed in training, which ended there; the "
                "network shown is that of the last good epoch."
            )
        if training.target_accuracy is not None and training.finished != "accuracy":
            found.append(
                f"{network.method} did not reach its target: validation accuracy "
                f"{labels.percent(training.validation_accuracy)} instead of "
                f"{labels.percent(training.target_accuracy)} (that of {network.stop_at}) after "
                f"{training.epochs} epochs."
            )
    if dataset.unreadable:
        named = ", ".join(dataset.unreadable[:_NAMED])
        more = len(dataset.unreadable) - _NAMED
        found.append(
            f"Images that could not be read and were left out: {len(dataset.unreadable)} "
            f"({named}{f' and {more} more' if more > 0 else ''})."
        )
    return found
