"""Claims on prediction tables made to support, oppose or not decide them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atcore.evaluation.predictions import Predictions
from atcore.images.table import CLEAN
from atcore.report.claims import NOT_DECIDED, NOT_SUPPORTED, SUPPORTED, Claim, claims_of
from atcore.report.figures import curve, looks
from atcore.report.inputs import Curve, Dataset, Maps, Network, Training
from atcore.report.pictures import charts, shape_bias_of_classes
from atcore.report.records import Results
from atcore.report.sentences import findings, headline, notes, verdicts
from atcore.report.summary import means, summarise, summarise_salience
from atcore.salience.measured import Measured

IMAGES = 60
_KINDS = {
    "stylized": "stylized",
    "patch_shuffled": "patch_shuffled",
    "cue_conflict": "cue_conflict",
}


def answers(variant: str, hits: int, *, first: int = 0, level: float = 1.0) -> Predictions:
    """Images first .. first + hits - 1 are right; others answer with the class of the texture."""
    ids = np.arange(IMAGES, dtype=np.int64)
    labels = (ids % 3).astype(np.int32)
    wrong, third = (labels + 1) % 3, (labels + 2) % 3
    right = (ids >= first) & (ids < first + hits)
    return Predictions(
        variant=variant,
        level=level,
        ids=ids,
        labels=labels,
        top3=np.stack([np.where(right, labels, wrong), np.where(right, wrong, labels), third], 1),
        probabilities=np.zeros((IMAGES, 3), np.float32),
        texture_labels=wrong if variant == "cue_conflict" else None,
    )


def network(method: str, *, adversarial: bool) -> Network:
    nothing = np.zeros(0)
    return Network(
        method=method,
        adversarial=adversarial,
        stop_at=None,
        trainings=(Training("epochs", 1, None, 0.5, None, "fp32"),),
        curves=(Curve((0.5,), (None,)),),
        maps=Maps((), nothing.astype(np.uint8), {}, nothing, nothing),
    )


def dataset(*seeds: dict[str, list[Predictions]], kinds: dict[str, str] | None = None) -> Dataset:
    """Answers of seeds 0, 1, ...; methods named `pgd` and so on are adversarially trained."""
    records = [
        record
        for seed, tables in enumerate(seeds)
        for method, parts in tables.items()
        for record in summarise("d", method, seed, parts)
    ]
    return Dataset(
        name="d",
        classes=("a", "b", "c"),
        seeds=tuple(range(len(seeds))),
        counts={},
        unreadable=(),
        kinds=_KINDS if kinds is None else kinds,
        networks=tuple(network(m, adversarial=m.startswith("pgd")) for m in seeds[0]),
        results=Results((*records, *means(records))),
        answers={method: [tables[method] for tables in seeds] for method in seeds[0]},
        salience={method: [[] for _ in seeds] for method in seeds[0]},
    )


def table(stylized: int, shuffled: int, by_shape: int, clean: int = IMAGES) -> list[Predictions]:
    return [
        answers(CLEAN, clean, level=0.0),
        answers("stylized", stylized),
        answers("patch_shuffled", shuffled),
        answers("cue_conflict", by_shape),
    ]


def the_other_half() -> Predictions:
    """Right on none of the clean images on which `table(..., clean=30)` is."""
    return answers(CLEAN, 30, first=30, level=0.0)


def by_variant(claims: list[Claim]) -> dict[str, Claim]:
    return {claim.variant: claim for claim in claims}


@pytest.mark.parametrize(
    ("standard", "robust", "verdict"),
    [
        ((10, 40, 5), (40, 10, 50), SUPPORTED),
        ((40, 10, 50), (10, 40, 5), NOT_SUPPORTED),
        ((20, 20, 20), (22, 18, 21), NOT_DECIDED),
        ((20, 20, 20), (20, 20, 20), NOT_DECIDED),
    ],
)
def test_verdicts(
    standard: tuple[int, int, int], robust: tuple[int, int, int], verdict: str
) -> None:
    claims = claims_of([dataset({"standard": table(*standard), "pgd": table(*robust)})])
    assert [claim.variant for claim in claims] == list(_KINDS)
    assert {claim.verdict for claim in claims} == {verdict}


def test_numbers_of_a_claim() -> None:
    claims = claims_of([dataset({"standard": table(10, 40, 5), "pgd": table(22, 33, 50)})])
    # Images that only one of them gets right: 12, 7, 45.
    raw = [stats.binomtest(0, n).pvalue for n in (12, 7, 45)]
    found = [claim.comparison for claim in claims]
    assert [c.p for c in found if c] == pytest.approx(raw, abs=1e-12)
    assert [c.effect for c in found if c] == pytest.approx([12 / 60, -7 / 60, 45 / 60])
    # Holm: the smallest times 3, the next times 2, the largest as it is.
    assert [c.p for c in claims] == pytest.approx([raw[0] * 2, raw[1], raw[2] * 3], abs=1e-12)


def test_saturation_below_its_identity_belongs_to_no_claim() -> None:
    levels = {0.5: 0, 2.0: 0, 4.0: 30, 64.0: 40}
    tables = {
        method: [
            answers(CLEAN, IMAGES, level=0.0),
            *(answers("s", hits + more, level=level) for level, hits in levels.items()),
        ]
        for method, more in (("standard", 0), ("pgd", 12))
    }
    (claim,) = claims_of([dataset(tables, kinds={"s": "saturated"})])
    assert claim.effects == (pytest.approx(0.2), pytest.approx(0.2))
    # 22 images differ at one of the two levels or both, all to one side.
    assert claim.p == pytest.approx(2 * 0.5**22)


def test_nothing_is_claimed_of_a_network_that_guesses() -> None:
    # 20 of 60 images of three classes are what a guess gets.
    run = dataset(
        {
            "standard": table(10, 40, 5),
            "pgd": table(40, 10, 50),
            "pgd_failed": table(20, 20, 60, clean=20),
        }
    )
    assert {claim.method for claim in claims_of([run])} == {"pgd"}
    assert notes(run) == [
        "pgd_failed is not clearly better than a guess on clean images: it has learned nothing, "
        "and no claim is tested on it."
    ]


def test_to_answer_with_the_most_frequent_class_is_a_guess() -> None:
    # 48 of 60 images are of class 0, and `pgd` has learned that alone.
    labels = (np.arange(IMAGES) >= 48).astype(np.int32)
    seen = {"standard": table(10, 40, 5), "pgd": table(60, 60, 60, clean=60)}
    for parts in seen.values():
        for part in parts:
            part.labels[:] = labels
    for part in seen["pgd"]:
        part.top3[:] = [0, 1, 2]
    run = dataset(seen)
    assert run.results.guessing("pgd") == [0]
    assert claims_of([run]) == []


def test_only_images_that_both_know_are_compared() -> None:
    tables = {"standard": table(30, 30, 30, clean=40), "pgd": table(50, 30, 30, clean=50)}
    stylized = by_variant(claims_of([dataset(tables)]))["stylized"].comparison
    assert stylized is not None
    assert (stylized.n, stylized.effect) == (40, 0.25)


def test_levels_are_pooled_where_both_networks_have_them() -> None:
    standard = [answers(CLEAN, 60, level=0), *(answers("stylized", 10, level=x) for x in (1, 2))]
    robust = [answers(CLEAN, 60, level=0), *(answers("stylized", 16, level=x) for x in (2, 1, 3))]
    claims = claims_of(
        [dataset({"standard": standard, "pgd": robust}, kinds={"stylized": "stylized"})]
    )
    comparison = claims[0].comparison
    assert comparison is not None
    assert comparison.n == 60
    assert comparison.effect == pytest.approx(0.1)
    assert comparison.p == pytest.approx(2 / 2**6)


def test_levels_that_disagree_are_counted() -> None:
    clean = answers(CLEAN, 60, level=0)
    standard = [clean, *(answers("stylized", 10, level=x) for x in (1, 2, 3))]
    hits = {1: 9, 2: 10, 3: 40}
    robust = [clean, *(answers("stylized", n, level=x) for x, n in hits.items())]
    [claim] = claims_of(
        [dataset({"standard": standard, "pgd": robust}, kinds={"stylized": "stylized"})]
    )
    assert claim.effects == pytest.approx((-1 / 60, 0, 0.5))
    assert claim.levels_as_claimed == 1
    assert claim.verdict == SUPPORTED


def seeds(*stylized: tuple[int, int]) -> Dataset:
    """Images that `standard` and `pgd` get right when stylized, at each seed."""
    answered = (
        {"standard": table(standard, 20, 20), "pgd": table(robust, 20, 20)}
        for standard, robust in stylized
    )
    return dataset(*answered, kinds={"stylized": "stylized"})


def test_seeds_are_paired_and_summed_by_image() -> None:
    [claim] = claims_of([seeds((10, 16), (10, 18))])
    assert claim.comparison is not None
    assert claim.comparison.n == IMAGES
    assert claim.effects_by_seed == pytest.approx((6 / 60, 8 / 60))
    assert claim.comparison.effect == pytest.approx(14 / 120)
    # Six images count twice for the robust networks, two once: all of one side.
    assert claim.comparison.p == pytest.approx(2 / 2**8)
    assert (claim.verdict, claim.seeds_as_claimed) == (SUPPORTED, 2)


@pytest.mark.parametrize(
    ("answered", "verdict", "as_claimed"),
    [
        # Beyond chance all the same: 30 images for one side, 1 for the other.
        ([(10, 40), (10, 9)], NOT_DECIDED, 1),
        ([(10, 40), (10, 10)], NOT_DECIDED, 1),
        ([(10, 40), (10, 11)], SUPPORTED, 2),
        ([(40, 10), (9, 10)], NOT_DECIDED, 1),
        ([(40, 10), (11, 10)], NOT_SUPPORTED, 0),
    ],
)
def test_seeds_that_disagree_do_not_decide(
    answered: list[tuple[int, int]], verdict: str, as_claimed: int
) -> None:
    [claim] = claims_of([seeds(*answered)])
    assert claim.p is not None
    assert claim.p < 0.05
    assert (claim.verdict, claim.seeds_as_claimed) == (verdict, as_claimed)


def test_a_seed_that_cannot_test_a_claim_does_not_agree() -> None:
    tables = [{"standard": table(10, 9, 9), "pgd": table(40, 9, 9)} for _ in range(2)]
    tables[1]["standard"] = table(10, 9, 9, clean=30)
    tables[1]["pgd"][0] = the_other_half()
    [claim] = claims_of([dataset(*tables, kinds={"stylized": "stylized"})])
    assert claim.effects_by_seed == (pytest.approx(0.5), None)
    assert claim.p is not None
    assert claim.p < 0.05
    assert claim.verdict == NOT_DECIDED


def shuffling(*seeds: tuple[tuple[int, ...], tuple[int, ...]]) -> Dataset:
    """Images that `standard` and `pgd` get right with k = 2, 4, 8, ..., at each seed."""

    def parts(hits: tuple[int, ...]) -> list[Predictions]:
        levels = (answers("p", n, level=2.0 * 2**at) for at, n in enumerate(hits))
        return [answers(CLEAN, IMAGES, level=0.0), *levels]

    tables = ({"standard": parts(one), "pgd": parts(other)} for one, other in seeds)
    return dataset(*tables, kinds={"p": "patch_shuffled"})


def growth(run: Dataset) -> Claim:
    return next(c for c in claims_of([run]) if c.measure == "accuracy_on_correct_slope")


def test_numbers_of_a_growing_loss() -> None:
    claim = growth(shuffling(((60, 50, 40), (54, 36, 24))))
    assert claim.comparison is not None
    # The difference goes from -6 to -14 and -16 of 60 images: by -5 a step.
    assert claim.comparison.effect == pytest.approx(-5 / 60)
    assert claim.effects == pytest.approx((-8 / 60, -2 / 60))
    # Half a hit a step: 16 images (24 to 39) for one side, 6 (54 to 59) for the other.
    raw = stats.binomtest(6, 22).pvalue
    assert claim.comparison.p == pytest.approx(raw, abs=1e-12)
    # The loss as such, with its smaller p-value, is tested in the same family.
    assert claim.p == pytest.approx(raw, abs=1e-12)
    half = 1.96 * 0.5 * np.sqrt((22 - 10**2 / 60) / 60**2)
    interval = (claim.comparison.low, claim.comparison.high)
    assert interval == pytest.approx((-5 / 60 - half, -5 / 60 + half), abs=0.005)


@pytest.mark.parametrize(
    ("standard", "robust", "loses_more", "grows"),
    [
        ((60, 58, 50), (58, 40, 20), SUPPORTED, SUPPORTED),
        # As much more at every k.
        ((60, 50, 40), (40, 30, 20), SUPPORTED, NOT_DECIDED),
        # At once, so that the other one catches up.
        ((60, 50, 10), (10, 10, 10), SUPPORTED, NOT_SUPPORTED),
        # From keeping more to keeping less.
        ((40, 40, 40), (60, 40, 20), NOT_DECIDED, SUPPORTED),
        ((40, 20, 10), (50, 50, 50), NOT_SUPPORTED, NOT_SUPPORTED),
    ],
)
def test_losing_more_and_the_more_the_larger_k_are_two_claims(
    standard: tuple[int, ...], robust: tuple[int, ...], loses_more: str, grows: str
) -> None:
    claims = claims_of([shuffling((standard, robust))])
    assert [c.verdict for c in claims] == [loses_more, grows]
    assert [c.claimed for c in claims] == [-1, -1]


def test_growth_of_several_seeds_is_summed_by_image_and_has_to_agree() -> None:
    claim = growth(shuffling(((60, 60), (60, 40)), ((60, 60), (60, 50))))
    assert claim.comparison is not None
    assert claim.comparison.n == IMAGES
    assert claim.effects_by_seed == pytest.approx((-20 / 60, -10 / 60))
    assert claim.comparison.effect == pytest.approx(-15 / 60)
    # Ten images count twice, ten once, all for one side.
    assert claim.comparison.p == pytest.approx(2 / 2**20)
    assert claim.verdict == SUPPORTED
    split = growth(shuffling(((60, 60), (60, 40)), ((60, 59), (60, 60))))
    assert split.p is not None
    assert split.p < 0.05
    assert split.verdict == NOT_DECIDED


hits = st.tuples(*[st.integers(0, IMAGES)] * 3)


@given(hits, hits)
def test_exchanging_the_networks_turns_the_growth(
    one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    there, back = growth(shuffling((one, other))), growth(shuffling((other, one)))
    assert there.comparison is not None
    assert back.comparison is not None
    assert there.effects == pytest.approx([-effect for effect in back.effects])
    assert there.comparison.p == back.comparison.p
    turned = (-back.comparison.effect, -back.comparison.high, -back.comparison.low)
    found = (there.comparison.effect, there.comparison.low, there.comparison.high)
    assert found == pytest.approx(turned, abs=1e-6)


def test_one_k_tests_no_growth_and_the_page_says_so() -> None:
    run = shuffling(((50,), (20,)))
    claims = claims_of([run])
    assert [c.measure for c in claims] == ["accuracy_on_correct"]
    assert findings(run, claims)[-1] == (
        "There is one k alone, so whether that grows with k is not tested."
    )


def test_growth_is_a_sentence() -> None:
    run = shuffling(((60, 58, 50), (58, 40, 20)))
    # From 2 of 60 images to 30.
    sentence = findings(run, claims_of([run]))[-1]
    assert sentence.startswith(
        "From one k to the next, what pgd loses beyond standard changes by +23.3 points [+1"
    )
    assert sentence.endswith(": that it grows with k is supported by this run.")


def looking(measure: str, *outlines: tuple[list[float], list[float]]) -> Dataset:
    """Salience on outlines, image by image, of `standard` and `pgd` at each seed."""

    def measured(values: list[float]) -> list[Measured]:
        numbers = np.array(values, np.float32)
        return [Measured(CLEAN, 0.0, "gradient", measure, np.arange(len(values)), numbers)]

    salience = {
        "standard": [measured(ordinary) for ordinary, _ in outlines],
        "pgd": [measured(robust) for _, robust in outlines],
    }
    records = [
        record
        for method, tables in salience.items()
        for seed, parts in enumerate(tables)
        for record in summarise_salience("d", method, seed, parts)
    ]
    empty = {"standard": table(0, 0, 0), "pgd": table(0, 0, 0)}
    results = Results((*records, *means(records)))
    return replace(dataset(*[empty] * len(outlines), kinds={}), salience=salience, results=results)


@pytest.mark.parametrize(
    ("robust", "verdict"),
    [(0.375, SUPPORTED), (0.125, NOT_SUPPORTED), (0.25, NOT_DECIDED)],
)
@pytest.mark.parametrize("measure", ["outline", "edges"])
def test_salience_that_follows_outlines(measure: str, robust: float, verdict: str) -> None:
    ordinary = [0.25 + i / 1024 for i in range(8)]
    moved = [value + robust - 0.25 for value in ordinary]
    [claim] = claims_of([looking(measure, (ordinary, moved))])
    assert (claim.variant, claim.measure) == (CLEAN, f"salience_{measure}")
    assert claim.comparison is not None
    assert claim.comparison.effect == pytest.approx(robust - 0.25)
    assert claim.verdict == verdict


def test_salience_of_several_seeds_is_paired_by_image_and_has_to_agree() -> None:
    low, high = [0.1] * 8, [0.2 + i / 100 for i in range(8)]
    [claim] = claims_of([looking("outline", (low, high), (low, high))])
    assert claim.comparison is not None
    assert (claim.comparison.n, claim.verdict) == (8, SUPPORTED)
    assert claim.effects_by_seed == pytest.approx((0.135, 0.135))
    [split] = claims_of([looking("outline", (low, high), ([0.15] * 8, low))])
    assert split.p is not None
    assert split.p < 0.05
    assert (split.verdict, split.seeds_as_claimed) == (NOT_DECIDED, 1)


def test_all_claims_of_a_run_are_one_family() -> None:
    one = dataset({"standard": table(20, 30, 20), "pgd": table(26, 30, 20)})
    [alone] = claims_of([replace(one, kinds={"stylized": "stylized"})])
    assert alone.p == pytest.approx(2 / 2**6)
    assert alone.verdict == SUPPORTED
    many = claims_of([one, replace(one, name="e")])
    assert len(many) == 6
    assert by_variant(many)["stylized"].p == pytest.approx(6 * 2 / 2**6)
    assert {claim.verdict for claim in many} == {NOT_DECIDED}


def test_every_adversarial_network_against_every_ordinary_one() -> None:
    tables = {m: table(20, 20, 20) for m in ("standard", "pgd", "underfit", "pgd_l2")}
    pairs = dict.fromkeys((c.method, c.reference) for c in claims_of([dataset(tables)]))
    assert list(pairs) == [
        ("pgd", "standard"),
        ("pgd", "underfit"),
        ("pgd_l2", "standard"),
        ("pgd_l2", "underfit"),
    ]


def test_a_claim_that_no_image_can_test_is_not_decided_and_not_counted() -> None:
    standard, pgd = table(40, 40, 5, clean=30), table(40, 40, 11)
    pgd[0] = the_other_half()
    claims = by_variant(claims_of([dataset({"standard": standard, "pgd": pgd})]))
    assert claims["stylized"].comparison is None
    assert claims["stylized"].verdict == NOT_DECIDED
    assert claims["cue_conflict"].p == pytest.approx(2 / 2**6)


def test_empty_tables() -> None:
    empty = [
        replace(
            part,
            ids=part.ids[:0],
            labels=part.labels[:0],
            top3=part.top3[:0],
            probabilities=part.probabilities[:0],
            texture_labels=None,
        )
        for part in table(1, 1, 1)
    ]
    claims = claims_of([dataset({"standard": empty, "pgd": empty})])
    assert [claim.variant for claim in claims] == ["stylized", "patch_shuffled"]
    assert {claim.verdict for claim in claims} == {NOT_DECIDED}


def test_a_run_without_pairs_has_no_claims() -> None:
    assert claims_of([dataset({"standard": table(1, 1, 1)})]) == []
    assert claims_of([]) == []


@pytest.mark.parametrize(
    ("robust", "words"),
    [(50, "relies more on"), (5, "relies less on"), (31, "does not clearly differ in")],
)
def test_headline_follows_the_verdict(robust: int, words: str) -> None:
    data = dataset({"standard": table(20, 20, 30), "pgd": table(20, 20, robust)})
    assert headline(data, claims_of([data])).startswith(f"pgd {words} shape")


def test_the_headline_leaves_out_networks_that_guess() -> None:
    lost = table(20, 20, 60, clean=20)
    tables = {"standard": table(20, 20, 30), "pgd": lost, "pgd_2": table(20, 20, 50)}
    data = dataset(tables)
    assert headline(data, claims_of([data])).startswith("pgd_2 relies more on shape than standard")


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (("pgd",), "pgd is"),
        (("standard",), "standard is"),
        (("standard", "pgd"), "standard and pgd are"),
    ],
)
def test_a_headline_says_who_guesses_where_that_leaves_no_pair(
    lost: tuple[str, ...], words: str
) -> None:
    clean = {name: 20 if name in lost else IMAGES for name in ("standard", "pgd")}
    data = dataset({name: table(20, 20, 30, clean=count) for name, count in clean.items()})
    claims = claims_of([data])
    assert headline(data, claims) == (
        f"{words} not clearly better than a guess, so nothing is compared."
    )
    assert findings(data, claims) == []


def test_one_seed_that_guesses_leaves_no_pair() -> None:
    seeds = [
        {"standard": table(20, 20, 30), "pgd": table(20, 20, 50, clean=clean)}
        for clean in (IMAGES, 20)
    ]
    data = dataset(*seeds)
    assert headline(data, claims_of([data])).startswith("pgd is not clearly better than a guess")


def test_verdicts_are_counted() -> None:
    claims = claims_of([dataset({"standard": table(10, 10, 30), "pgd": table(40, 40, 30)})])
    assert verdicts(claims) == (
        "Of 3 claims, 1 supported, 1 not supported, 1 not decided by this run."
    )


def test_too_many_classes_to_compare_are_not_drawn() -> None:
    data = dataset({"standard": table(1, 1, 30), "pgd": table(1, 1, 50)})
    assert shape_bias_of_classes(data) is not None
    many = replace(data, classes=tuple(f"class {i}" for i in range(21)))
    assert shape_bias_of_classes(many) is None


@pytest.mark.parametrize(
    ("count", "blank"),
    [(1, "was not decided by either cue."), (2, "was decided at fewer than two seeds. Means")],
)
def test_a_class_without_an_interval_is_explained(count: int, blank: str) -> None:
    picture = shape_bias_of_classes(dataset(*[{"standard": table(1, 1, 30)}] * count))
    assert picture is not None
    assert f"one without an interval {blank}" in picture.caption


def conflicts(*levels: float) -> Dataset:
    parts = [answers(CLEAN, IMAGES, level=0.0)]
    parts += [answers("cue_conflict", 20, level=level) for level in levels]
    return dataset({"standard": parts}, kinds={"cue_conflict": "cue_conflict"})


@pytest.mark.parametrize(
    ("levels", "caption"),
    [
        ((0.6,), "To the right: decided by shape; to the left: by texture."),
        ((0.3, 0.6), "Above: decided by shape; below: by texture."),
    ],
)
def test_the_caption_of_shape_bias_says_where_shape_is(
    levels: tuple[float, ...], caption: str
) -> None:
    (picture,) = charts(conflicts(*levels))
    assert picture.caption.endswith(caption)


def test_a_curve_of_shape_bias_has_a_line_where_shape_and_texture_decide_equally_often() -> None:
    data = conflicts(0.3, 0.6)
    figure = curve(
        data.results,
        looks(data.networks),
        variant="cue_conflict",
        kind="cue_conflict",
        measure="shape_bias",
        title="",
        chance=1 / 3,
    )
    assert [0.5, 0.5] in [list(line.get_ydata()) for line in figure.axes[0].lines]
