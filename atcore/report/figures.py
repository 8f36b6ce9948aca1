"""Charts of the report: curves over levels, rows of dots with intervals, learning curves.

Networks keep one colour and one marker in all figures. Colours differ in lightness as well as in
hue, so that they can be told apart by colour-blind readers and in print; warm colours are networks
trained on clean images, cold ones adversarially trained networks, dull ones were trained elsewhere.
"""

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from atcore.images.table import CLEAN
from atcore.report import labels
from atcore.report.inputs import Network
from atcore.report.records import Record, Results
from atcore.salience.measured import UNIFORM
from atcore.statistics.estimates import Estimate
from atcore.statistics.seeds import Spread

INK = "#1f2933"
_QUIET = "#667380"
_GRID = "#e3e8ed"
_DPI = 160
_SIZE = (5.8, 4.3)  # inches
_PANELS = 5  # beside one another
_WARM = ("#c8371b", "#d98200", "#7d2248", "#8a6d1d")
_COLD = ("#56a5dc", "#0b5fa5", "#0a8f7f", "#3b2a86", "#b04fa0", "#1c6b35", "#7d8b99")
_DULL = ("#22272b", "#8b96a0", "#5f6f16", "#b09bbd")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*")
Curves = Sequence[Sequence[float | None]]
_MEASURES = {
    "accuracy_on_correct": "accuracy on correctly classified images",
    "robust_accuracy": "accuracy under attack",
    "shape_bias": "shape bias: shape among shape and texture decisions",
}
# Of lines at what says nothing: chance, or as often one cue as the other.
_DOTTED: Any = {"color": _QUIET, "linewidth": 1, "linestyle": (0, (2, 3))}
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # names of classes are the user's, and may hold a $
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": _GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
}


@dataclass(frozen=True)
class Look:
    """How a network is drawn."""

    colour: str
    marker: str


def looks(networks: Sequence[Network]) -> dict[str, Look]:
    """One look per method, the same in every figure."""
    palettes = {_WARM: 0, _COLD: 0, _DULL: 0}
    found: dict[str, Look] = {}
    for position, network in enumerate(networks):
        trained = _COLD if network.adversarial else _WARM
        palette = trained if network.facts is None else _DULL
        colour = palette[palettes[palette] % len(palette)]
        palettes[palette] += 1
        found[network.method] = Look(colour, _MARKERS[position % len(_MARKERS)])
    return found


def styled() -> AbstractContextManager[None]:
    """Draw in the style of the report."""
    return mpl.rc_context(_STYLE)


def png(figure: Figure) -> bytes:
    """The picture file; equal figures give equal bytes."""
    buffer = io.BytesIO()
    # Without the name of the drawing library, which changes with its version.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _percent_axis(axes: Axes, name: str) -> None:
    axes.set_ylabel(name)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(visible=False, axis="x")


def _legend(figure: Figure, axes: Axes, count: int) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(count, 5),
        fontsize=9,
        columnspacing=1.3,
        handlelength=1.6,
        handletextpad=0.5,
    )


def _chance(axes: Axes, chance: float) -> None:
    axes.axhline(chance, **_DOTTED)
    axes.annotate(
        "chance",
        (0, chance),
        xycoords=("axes fraction", "data"),
        xytext=(4, 2),
        textcoords="offset points",
        ha="left",
        va="bottom",
        fontsize=8,
        color=_QUIET,
    )


def _line(axes: Axes, x: Sequence[float], records: Sequence[Record], look: Look) -> None:
    axes.fill_between(
        x,
        [record.low for record in records],
        [record.high for record in records],
        color=look.colour,
        alpha=0.16,
        linewidth=0,
    )
    axes.plot(
        x,
        [record.value for record in records],
        color=look.colour,
        marker=look.marker,
        markeredgecolor="white",
        markeredgewidth=0.8,
        label=records[0].method,
        clip_on=False,
        zorder=3,
    )


def curve(
    results: Results,
    style: dict[str, Look],
    *,
    variant: str,
    kind: str,
    measure: str,
    title: str,
    chance: float,
) -> Figure:
    """`measure` against the level of a variant, one line per method with its 95% band.

    The curve of an attack starts at eps 0 with the accuracy on clean images. Saturation has a
    logarithmic axis.
    """
    attack = measure == "robust_accuracy"
    levels = results.levels(variant, measure)
    with styled():
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        for method, look in style.items():
            points = [results.get(method, variant, level, measure) for level in levels]
            if attack:
                points.insert(0, results.get(method, CLEAN, 0.0, "accuracy"))
            drawn = [point for point in points if point is not None]
            if drawn:
                _line(axes, [point.level for point in drawn], drawn, look)
        shown = [0.0, *levels] if attack else levels
        if kind == "saturated":
            axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(shown))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels(
            [labels.eps(variant, x) if x else "0" for x in shown],
        )
        axes.set_xlabel(labels.axis(kind))
        _percent_axis(axes, _MEASURES[measure])
        if measure == "shape_bias":
            axes.axhline(0.5, **_DOTTED)
        else:
            _chance(axes, chance)
        axes.set_title(title)
        _legend(figure, axes, len(style))
    return figure


def _dot(axes: Axes, row: int, record: Record, look: Look) -> None:
    """A value with its 95% interval."""
    axes.plot([record.low, record.high], [row, row], color=look.colour, linewidth=3)
    axes.plot(
        record.value,
        row,
        look.marker,
        color=look.colour,
        markersize=9,
        markeredgecolor="white",
        clip_on=False,
        zorder=3,
    )


def dots(
    results: Results,
    style: dict[str, Look],
    *,
    variant: str,
    level: float,
    measure: str,
    title: str,
) -> Figure:
    """One measure at one level: a row per method with its value and 95% interval."""
    with styled():
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        for row, (method, look) in enumerate(style.items()):
            record = results.get(method, variant, level, measure)
            if record is None:
                continue
            _dot(axes, row, record, look)
            axes.annotate(
                labels.percent(record.value),
                (1.03, row),
                xycoords=("axes fraction", "data"),
                va="center",
                annotation_clip=False,
                color=INK,
            )
        axes.set_yticks(range(len(style)), list(style))
        axes.tick_params(axis="y", length=0, pad=10)
        axes.set_ylim(len(style) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel(_MEASURES[measure])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        if measure == "shape_bias":
            axes.axvline(0.5, **_DOTTED)
        axes.set_title(title)
    return figure


def dots_by_map(results: Results, style: dict[str, Look], measure: str, title: str) -> Figure:
    """One measure of clean images' salience: a panel per kind of map, a row per method.

    A dotted line where a map without structure would be.
    """
    kinds = [kind for kind in results.maps(measure) if kind != UNIFORM]
    with styled():
        size = (2 * _SIZE[0], 0.32 * len(style) + 1.3)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
        for axes, kind in zip(panels, kinds, strict=True):
            for row, (method, look) in enumerate(style.items()):
                record = results.get(method, CLEAN, 0.0, measure, map=kind)
                if record is not None:
                    _dot(axes, row, record, look)
            by_chance = results.get(next(iter(style)), CLEAN, 0.0, measure, map=UNIFORM)
            axes.axvline(0 if by_chance is None else by_chance.value, **_DOTTED)
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=False, axis="y")
            axes.set_title(labels.salience_map(kind), fontsize=10)
        panels[0].set_yticks(range(len(style)), list(style))
        panels[0].set_ylim(len(style) - 0.5, -0.5)
        panels[0].set_xlim(min(0, panels[0].get_xlim()[0]), None)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def class_bars(
    shares: Mapping[str, Sequence[Estimate | Spread | None]],
    style: dict[str, Look],
    classes: Sequence[str],
    title: str,
) -> Figure:
    """Shape bias per class: a panel per method, a bar per class with its 95% interval."""
    columns = min(len(shares), _PANELS)
    rows = -(-len(shares) // columns)
    size = (2 * _SIZE[0], (0.3 * len(classes) + 0.8) * rows + 0.4)
    with styled():
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        for axes, (method, of_classes) in zip(grid, shares.items(), strict=False):
            for row, share in enumerate(of_classes):
                if share is None:
                    continue
                axes.barh(row, share.value, height=0.62, color=style[method].colour)
                axes.plot([share.low, share.high], [row, row], color=INK, linewidth=1.2)
            axes.set_title(method, fontsize=10)
            axes.tick_params(axis="x", labelsize=8, labelbottom=True)
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=False, axis="y")
            axes.axvline(0.5, **_DOTTED)
        first = figure.axes[0]
        first.set_yticks(range(len(classes)), classes)
        first.set_ylim(len(classes) - 0.5, -0.5)
        first.set_xlim(0, 1)
        first.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
        first.xaxis.set_major_formatter(PercentFormatter(1.0))
        for spare in figure.axes[len(shares) :]:
            spare.set_visible(False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _learning_curve(axes: Axes, method: str, curves: Curves, look: Look) -> None:
    heights = [[math.nan if y is None else y for y in curve] for curve in curves]
    if len(heights) > 1:
        for single in heights:
            axes.plot(
                range(1, len(single) + 1), single, color=look.colour, linewidth=0.8, alpha=0.5
            )
    mean = [fmean(of_epoch) for of_epoch in zip(*heights, strict=False)]
    axes.plot(
        range(1, len(mean) + 1),
        mean,
        color=look.colour,
        marker=look.marker,
        markersize=4,
        label=method,
        clip_on=False,
    )


def learning(networks: Sequence[Network], style: dict[str, Look]) -> Figure:
    """Validation accuracy after each epoch, and under attack where it was measured.

    Of several seeds a thin line each, and their mean at the epochs that all of them have.
    """
    series: list[tuple[str, dict[str, Curves]]] = [
        ("accuracy", {n.method: [curve.accuracy for curve in n.curves] for n in networks})
    ]
    robust: dict[str, Curves] = {
        n.method: [curve.robust_accuracy for curve in n.curves] for n in networks if n.adversarial
    }
    if robust:
        series.append(("accuracy under the attack trained for", robust))
    with styled():
        figure = Figure(figsize=(5.0 * len(series), 3.9), layout="constrained")
        grid = figure.subplots(1, len(series), sharey=True, squeeze=False)[0]
        for axes, (name, values) in zip(grid, series, strict=True):
            for method, curves in values.items():
                _learning_curve(axes, method, curves, style[method])
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            _percent_axis(axes, "")
            axes.set_title(f"Validation {name}")
        grid[0].set_ylabel("share of validation images")
        _legend(figure, grid[0], len(networks))
    return figure
