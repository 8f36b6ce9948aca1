"""What the numbers say, in sentences computed from them and from the tested claims."""

from collections import Counter
from collections.abc import Iterator, Sequence

from atcore.base.wording import some
from atcore.images.table import CLEAN
from atcore.report import labels
from atcore.report.claims import (
    DESTROYS,
    LESS,
    MORE,
    NOT_DECIDED,
    NOT_SUPPORTED,
    SALIENCE_MAP,
    SHAPE_BIAS,
    SLOPE,
    SUPPORTED,
    Claim,
)
from atcore.report.inputs import Dataset, Network, Training
from atcore.report.records import Results
from atcore.salience.measured import UNIFORM
from atcore.statistics.levels import middle


def _robustness(results: Results, network: Network) -> float:
    found = [
        r.value
        for r in results.shown
        if r.method == network.method and r.measure == "robust_accuracy"
    ]
    return sum(found) / len(found) if found else 0.0


def _sides(dataset: Dataset) -> tuple[list[Network], list[Network]]:
    """The ordinary networks, and the adversarially trained ones."""
    networks = dataset.networks
    return [n for n in networks if n.ordinary], [n for n in networks if n.adversarial]


def pair(dataset: Dataset) -> tuple[str, str] | None:
    """The two networks of the headline: the most robust one, and the first ordinary one.

    The most robust is the adversarially trained network with the highest mean robust accuracy, a
    choice that does not look at shape or texture. Nothing is compared with a network that guesses
    at any seed. None where the run has no such pair.
    """
    ordinary, adversarial = (
        [n for n in side if not dataset.results.guessing(n.method)] for side in _sides(dataset)
    )
    if not ordinary or not adversarial:
        return None
    most_robust = max(adversarial, key=lambda n: _robustness(dataset.results, n))
    return most_robust.method, ordinary[0].method


def verdicts(claims: Sequence[Claim]) -> str:
    """One sentence: how many claims of the paper ended how."""
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
        return _guesses(dataset) if all(_sides(dataset)) else _biases(dataset)
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


def _guesses(dataset: Dataset) -> str:
    """Why there is no pair: all networks of one side, or of both, guess."""
    guessing = dataset.results.guessing
    sides = [[n.method for n in side] for side in _sides(dataset)]
    names = [name for side in sides if all(map(guessing, side)) for name in side]
    verb = "is" if len(names) == 1 else "are"
    return f"{' and '.join(names)} {verb} not clearly better than a guess, so nothing is compared."


def _biases(dataset: Dataset) -> str:
    """Shape bias of networks that were trained elsewhere, and of those beside them."""
    results = dataset.results
    if all(network.facts is None for network in dataset.networks):
        return "This run has no adversarially trained network beside an ordinary one to compare."
    for variant in results.variants(SHAPE_BIAS):
        level = middle(results.levels(variant, SHAPE_BIAS))
        found = [results.get(n.method, variant, level, SHAPE_BIAS) for n in dataset.networks]
        shares = ", ".join(f"{each.method} {labels.full(each)}" for each in found if each)
        return f"Decisions that follow the shape where it and the texture disagree: {shares}."
    return "This run has no image on which shape and texture disagree."


def findings(dataset: Dataset, claims: Sequence[Claim]) -> list[str]:
    """Sentences on the networks of the headline, and on each that was trained elsewhere."""
    others = (network.method for network in dataset.networks if network.facts is not None)
    own = [[claim for claim in claims if claim.method == name] for name in others]
    return [*_of_the_pair(dataset, claims), *(_differences(dataset, each) for each in own if each)]


def _differences(dataset: Dataset, claims: Sequence[Claim]) -> str:
    """In what one network differs from the ordinary one."""
    named: dict[str, list[str]] = {MORE: [], LESS: [], NOT_DECIDED: []}
    for claim in claims:
        what = labels.measure(claim.measure)
        if claim.variant != CLEAN:
            what += f" ({labels.family(claim.variant, dataset.kinds[claim.variant])})"
        named[claim.verdict].append(what)
    parts = [f"{verdict}: {', '.join(what)}" for verdict, what in named.items() if what]
    return f"{claims[0].method} compared with {claims[0].reference}: {'; '.join(parts)}."


def _of_the_pair(dataset: Dataset, claims: Sequence[Claim]) -> list[str]:
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
            sentences.extend(_growth(results, claims, claim))
    looking = _found(claims, CLEAN, chosen)
    return sentences if looking is None else [*sentences, *_looking(results, looking)]


def _looking(results: Results, claim: Claim) -> list[str]:
    """Where the salience of clean images lies, and whether that is as claimed."""
    place = (CLEAN, 0.0, claim.measure)
    first, second = (
        results.get(method, *place, map=SALIENCE_MAP) for method in (claim.method, claim.reference)
    )
    if first is None or second is None:
        return []
    verdict = f"That it is more is {claim.verdict} by this run."
    chance = results.get(claim.method, *place, map=UNIFORM)
    if chance is None:
        return [
            f"The salience of {claim.method} (Grad, clean images) correlates with the edges of the "
            f"image by {labels.decimal(first.value)}, that of {claim.reference} by "
            f"{labels.decimal(second.value)}. {verdict}"
        ]
    return [
        f"Of the salience of {claim.method} (Grad, clean images) {labels.full(first)} lies on the "
        f"outline of the object, of that of {claim.reference} {labels.full(second)}; "
        f"{labels.percent(chance.value)} of the pixels are there. {verdict}"
    ]


def _cost(results: Results, claim: Claim, kind: str) -> list[str]:
    """What destroying a cue costs at the middle level, and whether that is as claimed."""
    level = middle(results.levels(claim.variant, claim.measure))
    first = results.get(claim.method, claim.variant, level, claim.measure)
    second = results.get(claim.reference, claim.variant, level, claim.measure)
    if first is None or second is None:
        return []
    more = "more" if claim.claimed > 0 else "less"
    found = claim.comparison
    parts = {"levels": len(claim.effects), "seeds": len(claim.effects_by_seed)}
    several = " and ".join(f"{count} {what}" for what, count in parts.items() if count > 1)
    over_all = (
        f"Over all {several} {labels.points(found.effect)} points: that"
        if found is not None and several
        else "That"
    )
    return [
        f"With {DESTROYS[kind]} destroyed ({labels.part(claim.variant, kind, level)}), "
        f"{claim.method} keeps {labels.full(first)} of its correct answers and {claim.reference} "
        f"{labels.full(second)}. {over_all} it keeps {more} is {claim.verdict} by this run."
    ]


def _growth(results: Results, claims: Sequence[Claim], cost: Claim) -> list[str]:
    """Whether what the first network loses beyond the second grows with the number of patches."""
    if cost.claimed > 0:
        return []
    if len(results.levels(cost.variant, cost.measure)) == 1:
        return ["There is one k alone, so whether that grows with k is not tested."]
    place = (cost.variant, SLOPE, cost.method, cost.reference)
    growth = next(
        (c for c in claims if (c.variant, c.measure, c.method, c.reference) == place), None
    )
    if growth is None or growth.comparison is None:
        return []
    found = growth.comparison
    return [
        f"From one k to the next, what {cost.method} loses beyond {cost.reference} changes by "
        f"{labels.points(-found.effect)} points [{labels.points(-found.high)}, "
        f"{labels.points(-found.low)}]: that it grows with k is {growth.verdict} by this run."
    ]


def _failures(name: str, network: Network, training: Training) -> Iterator[str]:
    if training.finished == "collapse":
        yield (
            f"{name}: its robustness collapsed in training, which ended there; the network shown "
            "is that of the last good epoch."
        )
    if training.target_accuracy is not None and training.finished != "accuracy":
        yield (
            f"{name} did not reach its target: validation accuracy "
            f"{labels.percent(training.validation_accuracy)} instead of "
            f"{labels.percent(training.target_accuracy)} (that of {network.stop_at}) after "
            f"{training.epochs} epochs."
        )


def _trainings(dataset: Dataset) -> Iterator[tuple[str, Network, int, Training]]:
    """Every network as a reader tells it from others: name, method, seed and training.

    None of those that were trained elsewhere.
    """
    for network in dataset.networks:
        if network.facts is not None:
            continue
        for seed, training in zip(dataset.seeds, network.trainings, strict=True):
            of_seed = f" (seed {seed})" if len(dataset.seeds) > 1 else ""
            yield network.method + of_seed, network, seed, training


def precision(dataset: Dataset) -> str:
    """In which precision the networks were trained, and which in which where they differ."""
    names: dict[str, list[str]] = {}
    for name, _, _, training in _trainings(dataset):
        names.setdefault(training.precision, []).append(name)
    if not names:
        return "networks trained elsewhere"
    if len(names) == 1:
        return f"networks trained in {next(iter(names))}"
    shown = [f"{used} ({', '.join(of_it)})" for used, of_it in names.items()]
    return f"networks trained in {' and '.join(shown)}"


def notes(dataset: Dataset) -> list[str]:
    """What a reader must know before believing the numbers: failed training, missing images."""
    found: list[str] = []
    for name, network, seed, training in _trainings(dataset):
        found.extend(_failures(name, network, training))
        if seed in dataset.results.guessing(network.method):
            found.append(f"{name} {labels.LEARNED_NOTHING}, and no claim is tested on it.")
    for network in dataset.networks:
        if network.facts is not None and dataset.results.guessing(network.method):
            found.append(
                f"{network.method} {labels.GUESSES}, and nothing is tested on it: see what is said "
                "of it below."
            )
    if dataset.unreadable:
        found.append(
            f"Images that could not be read and were left out: {len(dataset.unreadable)} "
            f"({some(dataset.unreadable)})."
        )
    return found


def counted(seeds: Sequence[int]) -> str:
    """What the numbers of the tables are."""
    if len(seeds) == 1:
        return (
            "Percent of images, in brackets the 95% interval, and the number n of images counted."
        )
    return (
        f"Percent of images, mean over {len(seeds)} networks per method (seeds "
        f"{', '.join(map(str, seeds))}); in brackets its 95% interval over seeds; the number n "
        "of images counted, the fewest of any seed; the number of seeds, the lowest and the "
        "highest of them."
    )


def intervals(seeds: Sequence[int]) -> str:
    """What the intervals cover, and what they do not."""
    over_images = (
        "95% score intervals (Wilson 1927); of confidence, calibration, consistency and salience "
        "bootstrap intervals over the images. They describe the luck of drawing these test images, "
        "not the luck of training"
    )
    if len(seeds) == 1:
        return (
            f"{over_images}: there is one network per method, and another seed gives another "
            "network (run.seeds)."
        )
    return (
        f"95% intervals of the mean over the {len(seeds)} networks of a method (Student 1908), "
        "which differ in the seed of their training alone. They describe the luck of training, "
        "not the luck of drawing these test images. Few seeds make them wide; networks that agree "
        "exactly leave them no width. Intervals over the images, of every network by itself, are "
        "in summary.json. A value that fewer than two networks have is left out."
    )
