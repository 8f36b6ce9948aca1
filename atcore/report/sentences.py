"""What the numbers say, in sentences computed from them and from the tested claims."""

from collections import Counter
from collections.abc import Sequence

from atcore.predictions import CLEAN
from atcore.report import labels
from atcore.report.claims import DESTROYS, NOT_DECIDED, NOT_SUPPORTED, SUPPORTED, Claim
from atcore.report.inputs import Dataset, Network
from atcore.report.records import Results, middle

# So many of the unreadable images are named on the page; dataset.json names all.
_NAMED = 3


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


def verdicts(claims: Sequence[Claim]) -> str:
    """One sentence: how many claims ended how."""
    counts = Counter(claim.verdict for claim in claims)
    return (
        f"Of {len(claims)} claims, {counts[SUPPORTED]} supported, {counts[NOT_SUPPORTED]} not "
        f"supported, {counts[NOT_DECIDED]} not decided by this run."
    )


def _found(claims: Sequence[Claim], variant: str, chosen: tuple[str, str]) -> Claim | None:
    """The claim on `variant` for the two networks chosen."""
    about = (c for c in claims if c.variant == variant and (c.method, c.reference) == chosen)
    return next(about, None)


def headline(dataset: Dataset, claims: Sequence[Claim]) -> str:
    """One sentence: does the most robust network rely more on shape than the ordinary one?"""
    chosen = pair(dataset)
    if chosen is None:
        return "This run has no adversarially trained network beside an ordinary one to compare."
    method, reference = chosen
    results = dataset.results
    for variant in results.variants("shape_bias"):
        claim = _found(claims, variant, chosen)
        level = middle(results.levels(variant, "shape_bias"))
        first = results.get(method, variant, level, "shape_bias")
        second = results.get(reference, variant, level, "shape_bias")
        if claim is not None and first is not None and second is not None:
            if claim.verdict == NOT_DECIDED:
                verdict = "does not clearly differ in shape bias from"
            else:
                more = "more" if claim.verdict == SUPPORTED else "less"
                verdict = f"relies {more} on shape than"
            return (
                f"{method} {verdict} {reference}: where shape and texture disagree, "
                f"{labels.full(first)} of its decisions follow the shape, "
                f"against {labels.full(second)}."
            )
    return f"No image on which shape and texture disagree tells {method} from {reference}."


def findings(dataset: Dataset, claims: Sequence[Claim]) -> list[str]:
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
        claim = _found(claims, variant, chosen)
        if kind in DESTROYS and claim is not None:
            sentences.extend(_cost(results, claim, kind))
    return sentences


def _cost(results: Results, claim: Claim, kind: str) -> list[str]:
    """What destroying a cue costs at the middle level, and whether that is as claimed."""
    level = middle(results.levels(claim.variant, claim.measure))
    first = results.get(claim.method, claim.variant, level, claim.measure)
    second = results.get(claim.reference, claim.variant, level, claim.measure)
    if first is None or second is None:
        return []
    more = "more" if claim.claimed > 0 else "less"
    found = claim.comparison
    over_all = (
        f"Over all {len(claim.effects)} levels {labels.points(found.effect)} points: that"
        if found is not None and len(claim.effects) > 1
        else "That"
    )
    return [
        f"With {DESTROYS[kind]} destroyed ({labels.part(claim.variant, kind, level)}), "
        f"{claim.method} keeps {labels.full(first)} of its correct answers and {claim.reference} "
        f"{labels.full(second)}. {over_all} it keeps {more} is {claim.verdict} by this run."
    ]


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
