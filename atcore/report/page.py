"""The page: one HTML file with everything in it, its sentences computed from the numbers."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path

import jinja2

from atcore.images.table import CLEAN
from atcore.report import labels, sentences
from atcore.report.claims import DESTROYS, SLOPE, Claim
from atcore.report.figures import Look, looks
from atcore.report.inputs import Dataset, Network
from atcore.report.kept import Kept
from atcore.report.pictures import Picture
from atcore.report.records import Record
from atcore.statistics.levels import middle

_FOLDER = Path(__file__).parent
_UNDER_ATTACK = "Under attack"
_CONFLICT = "Shape against texture"
# Measures of clean images' salience: title and remark.
_SALIENCE = {
    "outline": ("On the outline", "share of salience within a pixel of the object's outline"),
    "inside": ("Inside the object", "share of salience"),
    "edges": ("On edges", "rank correlation with the strength of the image's edges"),
    "gini": ("Sparsity", "Gini index: 0 is the same everywhere, 1 a single pixel"),
    "untrained_rank_correlation": (
        "Like a network with random weights",
        "rank correlation with its map; 1 would mean a map that says nothing of what was learned",
    ),
}
_AGREEMENT = {
    "rank_correlation": ("As on the clean image", "rank correlation of the two maps"),
    "ssim": ("As on the clean image, by structure", "structural similarity of the two maps"),
}
_CONFLICT_MEASURES = {
    "shape_bias": "shape bias",
    "shape_rate": "answers by shape",
    "texture_rate": "answers by texture",
}


@dataclass(frozen=True)
class Row:
    """One line of a table: its records, where there are any, under the columns of the table."""

    label: str
    cells: tuple[Record | None, ...]


@dataclass(frozen=True)
class Group:
    """Lines that belong together.

    Attributes:
        remark: what is counted.
    """

    title: str
    remark: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Agreement:
    """Error consistency: one line per pair of networks, one column per variant.

    Attributes:
        heads: of the columns: the variant, and its level where it has one.
    """

    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Tested:
    """Claims: one line per pair of networks, all with the same columns.

    Attributes:
        heads: of the columns: what is changed, and what is claimed, or else compared.
    """

    heads: tuple[tuple[str, str], ...]
    lines: Sequence[Sequence[Claim]]


@dataclass(frozen=True)
class Section:
    """Everything the page shows of one dataset.

    Attributes:
        claims: those of the paper.
        given: networks that were trained elsewhere.
        differences: what networks that were trained elsewhere are held against the ordinary one in.
        looked: what salience maps measure.
        salience: a grid for each kind of map.
    """

    dataset: Dataset
    style: dict[str, Look]
    precision: str
    headline: str
    findings: Sequence[str]
    groups: Sequence[Group]
    claims: Tested
    differences: Tested
    verdicts: str
    agreement: Agreement
    kept: Kept
    notes: Sequence[str]
    charts: Sequence[Picture]
    by_class: Picture | None
    learning: Picture | None
    given: Sequence[Network]
    looked: Sequence[Group]
    outlines: Picture | None
    salience: Sequence[Picture]

    @property
    def pictures(self) -> list[Picture]:
        drawn = [*self.charts, self.by_class, self.learning, self.outlines, *self.salience]
        return [picture for picture in drawn if picture is not None]


def _row(
    dataset: Dataset, label: str, variant: str, level: float, measure: str, kind: str | None = None
) -> Row:
    """One line of a measure, of one kind of salience map where it is of maps."""
    cells = [
        dataset.results.get(network.method, variant, level, measure, map=kind)
        for network in dataset.networks
    ]
    return Row(label, tuple(cells))


def _rows(dataset: Dataset, variant: str, measure: str, suffix: str = "") -> list[Row]:
    kind = dataset.kinds[variant]
    return [
        _row(dataset, labels.part(variant, kind, level) + suffix, variant, level, measure)
        for level in dataset.results.levels(variant, measure)
    ]


def _group_of(dataset: Dataset, variant: str) -> tuple[str, str]:
    """Title and remark of the group a variant or attack belongs to."""
    kind = dataset.kinds[variant]
    if variant in dataset.results.variants("robust_accuracy"):
        return _UNDER_ATTACK, "accuracy on the images attacked"
    if variant in dataset.results.variants("shape_bias"):
        return _CONFLICT, "images whose shape and texture belong to different classes"
    title = f"{DESTROYS[kind].capitalize()} destroyed" if kind in DESTROYS else "Other variants"
    return title, "accuracy on correctly classified images"


def _table(dataset: Dataset) -> list[Group]:
    clean = (
        _row(dataset, "accuracy", CLEAN, 0.0, "accuracy"),
        _row(dataset, "top-3 accuracy", CLEAN, 0.0, "top3_accuracy"),
        _row(dataset, "mean confidence", CLEAN, 0.0, "confidence"),
        _row(dataset, "expected calibration error", CLEAN, 0.0, "calibration_error"),
    )
    groups = {"Clean images": Group("Clean images", "all test images", clean)}
    for variant in dataset.kinds:
        title, remark = _group_of(dataset, variant)
        if title == _UNDER_ATTACK:
            rows = _rows(dataset, variant, "robust_accuracy")
        elif title == _CONFLICT:
            rows = [
                row
                for measure, name in _CONFLICT_MEASURES.items()
                for row in _rows(dataset, variant, measure, f": {name}")
            ]
            on_correct = ": accuracy on correctly classified images"
            rows += _rows(dataset, variant, "accuracy_on_correct", on_correct)
        else:
            rows = _rows(dataset, variant, "accuracy_on_correct")
        before = groups[title].rows if title in groups else ()
        groups[title] = Group(title, remark, (*before, *rows))
    return list(groups.values())


def _agreement(dataset: Dataset) -> Agreement:
    results, measure = dataset.results, "error_consistency"
    places = {
        variant: middle(results.levels(variant, measure))
        for variant in (CLEAN, *dataset.kinds)
        if variant in results.variants(measure)
    }
    names = [network.method for network in dataset.networks]
    rows = [
        Row(
            f"{method} and {other}",
            tuple(results.get(method, *place, measure, other) for place in places.items()),
        )
        for method, other in combinations(names, 2)
    ]
    heads = tuple(
        (variant, "" if variant == CLEAN else labels.strength(dataset.kinds[variant], level))
        for variant, level in places.items()
    )
    return Agreement(heads, tuple(rows))


def _looked(dataset: Dataset) -> list[Group]:
    results, groups = dataset.results, []
    for name, (title, remark) in _SALIENCE.items():
        measure = f"salience_{name}"
        rows = [
            _row(dataset, labels.salience_map(kind), CLEAN, 0.0, measure, kind)
            for kind in results.maps(measure)
        ]
        groups.append(Group(title, remark, tuple(rows)))
    for name, (title, remark) in _AGREEMENT.items():
        measure = f"salience_{name}"
        rows = []
        for variant in results.variants(measure):
            level = middle(results.levels(variant, measure))
            part = labels.part(variant, dataset.kinds[variant], level)
            rows += [
                _row(dataset, f"{part}: {labels.salience_map(kind)}", variant, level, measure, kind)
                for kind in results.maps(measure)
            ]
        groups.append(Group(title, remark, tuple(rows)))
    return [group for group in groups if group.rows]


def _claimed(claim: Claim) -> str:
    """What is claimed of the first of two networks, in the head of a column."""
    match claim.measure:
        case measure if not claim.claimed:
            return labels.measure(measure)
        case "salience_outline":
            return "looks more at outlines"
        case "salience_edges":
            return "looks more at edges"
        case "shape_bias":
            return "decides more by shape"
        case measure if measure == SLOPE:
            return "loses the more, the larger k"
    return "keeps more accuracy" if claim.claimed > 0 else "keeps less accuracy"


def _tested(dataset: Dataset, claims: Sequence[Claim]) -> Tested:
    pairs = groupby(claims, lambda claim: (claim.method, claim.reference))
    lines = [list(line) for _, line in pairs]
    heads = tuple(
        (labels.family(claim.variant, dataset.kinds.get(claim.variant, CLEAN)), _claimed(claim))
        for claim in (lines[0] if lines else ())
    )
    return Tested(heads, lines)


def section(
    dataset: Dataset,
    claims: Sequence[Claim],
    kept: Kept,
    charts: Sequence[Picture],
    by_class: Picture | None,
    learning: Picture | None,
    outlines: Picture | None,
    salience: Sequence[Picture],
) -> Section:
    """Compute what the page says about one dataset."""
    papers = [claim for claim in claims if claim.claimed]
    others = [claim for claim in claims if not claim.claimed]
    return Section(
        dataset=dataset,
        style=looks(dataset.networks),
        precision=sentences.precision(dataset),
        headline=sentences.headline(dataset, claims),
        findings=sentences.findings(dataset, claims),
        groups=_table(dataset),
        claims=_tested(dataset, papers),
        differences=_tested(dataset, others),
        verdicts=sentences.verdicts(papers),
        agreement=_agreement(dataset),
        kept=kept,
        notes=sentences.notes(dataset),
        charts=charts,
        by_class=by_class,
        learning=learning,
        given=[network for network in dataset.networks if network.facts is not None],
        looked=_looked(dataset),
        outlines=outlines,
        salience=salience,
    )


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.data).decode()}"


def render(sections: Sequence[Section]) -> str:
    """The whole page; every name in it is escaped. All sections have the same seeds."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=labels.percent,
        interval=labels.interval,
        points=labels.points,
        p_value=labels.p_value,
        decimal=labels.decimal,
        data_uri=_data_uri,
    )
    seeds = sections[0].dataset.seeds
    return environment.get_template("page.html.jinja").render(
        sections=sections,
        seeds=seeds,
        counted=sentences.counted(seeds),
        intervals=sentences.intervals(seeds),
    )
