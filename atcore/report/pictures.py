"""Which pictures a dataset gets, each with its caption."""

from collections.abc import Sequence
from dataclasses import dataclass

from atcore.measures.conflicts import shape_bias_by_class
from atcore.report import labels
from atcore.report.claims import DESTROYS
from atcore.report.figures import (
    Look,
    class_bars,
    curve,
    dots,
    dots_by_map,
    learning,
    looks,
    png,
)
from atcore.report.inputs import Dataset
from atcore.report.records import CHANCE
from atcore.report.salience_grid import grid
from atcore.statistics.estimates import Estimate
from atcore.statistics.levels import middle
from atcore.statistics.proportions import Proportion
from atcore.statistics.seeds import Spread, spread

_MOST_CLASSES = 20


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        name: of the file, without its ending.
        data: PNG.
        caption: how to read it.
        alternative: what it shows, for readers who do not see it.
    """

    name: str
    data: bytes
    caption: str
    alternative: str


def _title(variant: str, kind: str, measure: str) -> str:
    if measure == "shape_bias":
        return f"Shape against texture: {variant}"
    if measure == "robust_accuracy":
        return f"Under attack: {labels.family(variant, kind)}"
    return f"{DESTROYS[kind].capitalize()} destroyed: {variant}" if kind in DESTROYS else variant


def _caption(kind: str, measure: str, *, curved: bool) -> str:
    if measure == "shape_bias":
        shape, texture = ("Above", "below") if curved else ("To the right", "to the left")
        return (
            f"Images with the shape of one class and the texture of another. {shape}: decided by "
            f"shape; {texture}: by texture."
        )
    if measure == "robust_accuracy":
        return "Share of the attacked images still classified correctly (at ε = 0: of all)."
    expected = {
        "texture": "A network that relies on shape keeps more.",
        "shape": "A network that relies on shape keeps less.",
    }
    counted = "Only images that the network classifies correctly when clean."
    return f"{counted} {expected[DESTROYS[kind]]}" if kind in DESTROYS else counted


def _chart(
    dataset: Dataset, style: dict[str, Look], variant: str, kind: str, measure: str
) -> Picture:
    results = dataset.results
    title = _title(variant, kind, measure)
    levels = results.levels(variant, measure)
    curved = len(levels) > 1 or measure == "robust_accuracy"
    if curved:
        chance = next(r.value for r in results.shown if r.measure == CHANCE)
        figure = curve(
            results,
            style,
            variant=variant,
            kind=kind,
            measure=measure,
            title=title,
            chance=chance,
        )
    else:
        figure = dots(
            results, style, variant=variant, level=levels[0], measure=measure, title=title
        )
    return Picture(
        name=variant,
        data=png(figure),
        caption=_caption(kind, measure, curved=curved)
        + _over_seeds(dataset, "Means over seeds, with intervals over seeds."),
        alternative=f"{title}, one line or row per method; the numbers are in the table of results",
    )


def charts(dataset: Dataset) -> list[Picture]:
    """One chart per variant and per attack; shape bias, the question itself, comes first."""
    style = looks(dataset.networks)
    left, drawn = dict(dataset.kinds), []
    for measure in ("shape_bias", "robust_accuracy", "accuracy_on_correct"):
        for variant in dataset.results.variants(measure):
            if (kind := left.pop(variant, None)) is not None:
                drawn.append(_chart(dataset, style, variant, kind, measure))
    return drawn


def _by_class(
    of_seeds: Sequence[Sequence[Proportion | None]],
) -> list[Estimate | Spread | None]:
    """The value of every class: of the only seed, or the mean over seeds that decided any."""
    if len(of_seeds) == 1:
        return [None if share is None else share.estimate for share in of_seeds[0]]
    known = ([share for share in of_class if share] for of_class in zip(*of_seeds, strict=True))
    return [spread([s.value for s in shares], [s.n for s in shares]) for shares in known]


def _over_seeds(dataset: Dataset, words: str) -> str:
    """What a caption adds where there are several networks per method."""
    return f" {words}" if len(dataset.seeds) > 1 else ""


def shape_bias_of_classes(dataset: Dataset) -> Picture | None:
    """Shape bias by the shape's class, of the first variant with cue conflicts at its middle level.

    None without cue conflicts, or with more classes than a reader can compare.
    """
    conflicts = dataset.results.variants("shape_bias")
    if not conflicts or len(dataset.classes) > _MOST_CLASSES:
        return None
    variant = conflicts[0]
    level = middle(dataset.results.levels(variant, "shape_bias"))
    shares = {
        method: _by_class(
            [
                shape_bias_by_class(part, len(dataset.classes))
                for parts in tables
                for part in parts
                if (part.variant, part.level) == (variant, level)
            ]
        )
        for method, tables in dataset.answers.items()
    }
    title = f"Shape bias by the class of the shape: {variant}"
    return Picture(
        name="shape_bias_by_class",
        data=png(class_bars(shares, looks(dataset.networks), dataset.classes, title)),
        caption=(
            "Share of shape among shape and texture decisions, with its 95% interval. A class with "
            "an interval alone was never decided by shape; one without an interval "
            + (
                "was decided at fewer than two seeds. Means over seeds, with intervals over seeds."
                if len(dataset.seeds) > 1
                else "was not decided by either cue."
            )
        ),
        alternative=f"{title}, one panel per method",
    )


def learning_curves(dataset: Dataset) -> Picture | None:
    """Of the networks that were trained here; None where none was."""
    trained = [network for network in dataset.networks if network.facts is None]
    if not trained:
        return None
    return Picture(
        name="learning",
        data=png(learning(trained, looks(dataset.networks))),
        caption=(
            "On validation images. The attack is that of each method's own training, so the right "
            "panel compares epochs, not methods."
            + _over_seeds(
                dataset,
                "A thin line is one seed; the line with marks is their mean, up to the last epoch "
                "that all of them have.",
            )
        ),
        alternative="Learning curves; where each ended is in the table of trained networks",
    )


_MAPS = {
    "gradient": "how strongly the score of the true class depends on each pixel",
    "smoothgrad": "the mean of that over copies of the image with noise",
    "integrated_gradients": (
        "how much each pixel contributes to the score on the way from an image of the mean colour"
    ),
    "grad_cam": "where the last feature maps, coarser than the image, speak for the true class",
}
# Shown first; the others stand behind it.
_FIRST = "smoothgrad"


def salience(dataset: Dataset) -> list[Picture]:
    """A grid for each kind of map."""
    kinds = sorted(dataset.networks[0].maps.kinds, key=lambda kind: kind != _FIRST)
    return [
        Picture(
            name=f"salience_{kind}",
            data=png(grid(dataset.networks, kind, dataset.classes, dataset.kinds)),
            caption=(
                f"{labels.salience_map(kind)}: {_MAPS[kind]}; bright is much. Each map is scaled "
                "by its own 99th percentile. Under each map the class the network answers: ✓ "
                "right, ✗ wrong. Images are not chosen: the first test image of each of the first "
                "classes, and of each variant its middle level."
                + _over_seeds(dataset, f"The networks are those of seed {dataset.seeds[0]}.")
            ),
            alternative=(
                f"Grid of test images and the {labels.salience_map(kind)} map of every network on "
                "each of them"
            ),
        )
        for kind in kinds
    ]


def outlines(dataset: Dataset) -> Picture | None:
    """How much salience follows outlines, by kind of map; None where it was not measured."""
    for measure, title in (
        ("salience_outline", "Share of salience on the outline of the object"),
        ("salience_edges", "Rank correlation of salience with the edges of the image"),
    ):
        if dataset.results.maps(measure):
            figure = dots_by_map(dataset.results, looks(dataset.networks), measure, title)
            return Picture(
                name="salience_outlines",
                data=png(figure),
                caption=(
                    "Clean test images, mean with its 95% interval. Dotted: a map that is the same "
                    "everywhere. The further to the right, the more a network looks at outlines."
                    + _over_seeds(dataset, "Means over seeds, with intervals over seeds.")
                ),
                alternative=f"{title}, one panel per kind of map, one row per method",
            )
    return None
