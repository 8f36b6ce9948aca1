"""The picture of the report: what each network looks at, on clean and on transformed images."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atcore.report import labels
from atcore.report.figures import styled
from atcore.report.inputs import Maps, Network
from atcore.statistics.levels import middle

_IMAGES = 3
# In inches: side of a cell, from one to the next, to the row below, and height of the titles.
_CELL, _ACROSS, _DOWN, _TITLES = 1.08, 1.16, 1.32, 0.3
# In inches: a letter of the names of rows, and what is left free on either side of them.
_LETTER, _MARGIN = 0.072, 0.1
_RIGHT, _WRONG = "#0b5fa5", "#b3261e"
_NAME_LENGTH = 12


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"


def chosen_rows(maps: Maps) -> list[int]:
    """The clean row, and of each variant the row of its middle level."""
    levels: dict[str, list[float]] = {}
    for variant, level in maps.rows[1:]:
        levels.setdefault(variant, []).append(level)
    return [0] + [maps.rows.index((name, middle(values))) for name, values in levels.items()]


def _unit(salience: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scaled so that its own 99th percentile is 1; a map of zeros stays one."""
    top = max(float(np.percentile(salience, 99)), float(np.finfo(np.float32).tiny))
    return np.asarray(np.minimum(salience / top, 1), np.float32)


def _row_names(maps: Maps, rows: Sequence[int], kinds: dict[str, str]) -> list[str]:
    parts = (labels.part(name, kinds[name], level) for name, level in (maps.rows[r] for r in rows))
    return [part.replace(", ", "\n") for part in parts]


def _draw(axes: Axes, x: float, y: float, pixels: NDArray[np.generic]) -> None:
    axes.imshow(pixels, "magma", vmin=0, vmax=1, aspect="auto", extent=(x, x + _CELL, y + _CELL, y))


def grid(
    networks: Sequence[Network], salience_map: str, classes: tuple[str, ...], kinds: dict[str, str]
) -> Figure:
    """Rows: the first images and their variants. Columns: the image, then a map per network.

    Maps are of one kind, each scaled by its own 99th percentile; under each stands the class the
    network answers, blue with a tick where it is right, red with a cross where not.
    """
    shown = networks[0].maps
    rows, count = chosen_rows(shown), min(_IMAGES, len(shown.labels))
    names = ["clean", *_row_names(shown, rows[1:], kinds)]
    left = 2 * _MARGIN + _LETTER * max(len(line) for name in names for line in name.splitlines())
    block = _TITLES + _DOWN * len(rows)
    width, height = left + _ACROSS * (1 + len(networks)), block * count
    with styled():
        figure = Figure(figsize=(width, height))
        # One for all cells, in inches: laying out one for each would take most of the stage's time.
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        for image in range(count):
            top = image * block + _TITLES
            true_class = _short(classes[shown.labels[image]])
            # To the left of it is room for a long name.
            axes.text(left + _CELL, top - 0.07, f"true: {true_class}", ha="right", weight="bold")
            for column, network in enumerate(networks, start=1):
                middle_of = left + column * _ACROSS + _CELL / 2
                axes.text(middle_of, top - 0.07, network.method, ha="center", weight="bold")
            for line, (row, name) in enumerate(zip(rows, names, strict=True)):
                y = top + line * _DOWN
                axes.text(left - _MARGIN, y + _CELL / 2, name, ha="right", va="center")
                _draw(axes, left, y, shown.images[row, image])
                for column, network in enumerate(networks, start=1):
                    x = left + column * _ACROSS
                    _draw(axes, x, y, _unit(network.maps.kinds[salience_map][row, image]))
                    answer = int(network.maps.predicted[row, image])
                    right = answer == shown.labels[image]
                    axes.text(
                        x + _CELL / 2,
                        y + _CELL + 0.05,
                        f"{'✓' if right else '✗'} {_short(classes[answer])}",
                        ha="center",
                        va="top",
                        fontsize=8.5,
                        color=_RIGHT if right else _WRONG,
                    )
        axes.set(xlim=(0, width), ylim=(height, 0))
    return figure
