"""The picture of the report: what each network looks at, on clean and on transformed images."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atcore.report import labels
from atcore.report.figures import INK, styled
from atcore.report.inputs import Maps, Network
from atcore.report.records import middle

_IMAGES = 3
_CELL = 1.12
_RIGHT, _WRONG = "#0b5fa5", "#b3261e"
_NAME_LENGTH = 14


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


def _cell(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def grid(
    networks: Sequence[Network], salience_map: str, classes: tuple[str, ...], kinds: dict[str, str]
) -> Figure:
    """Rows: the first images and their variants. Columns: the image, then a map per network.

    Maps are of one kind, each scaled by its own 99th percentile; under each stands the class the
    network answers, blue with a tick where it is right, red with a cross where not.
    """
    shown = networks[0].maps
    rows, count = chosen_rows(shown), min(_IMAGES, len(shown.labels))
    with styled():
        figure = Figure(
            figsize=(1.3 + _CELL * (1 + len(networks)), 0.3 + (_CELL + 0.22) * len(rows) * count),
            layout="constrained",
        )
        for image, block in enumerate(figure.subfigures(count, 1, squeeze=False)[:, 0]):
            cells = block.subplots(len(rows), 1 + len(networks), squeeze=False)
            for line, row in zip(cells, rows, strict=True):
                variant, level = shown.rows[row]
                name = labels.part(variant, kinds[variant], level) if row else "clean"
                line[0].imshow(shown.images[row, image])
                line[0].set_ylabel(
                    name.replace(", ", "\n"), rotation=0, ha="right", va="center", labelpad=8
                )
                for axes, network in zip(line[1:], networks, strict=True):
                    answer = int(network.maps.predicted[row, image])
                    right = answer == shown.labels[image]
                    axes.imshow(
                        _unit(network.maps.kinds[salience_map][row, image]), "magma", vmin=0, vmax=1
                    )
                    axes.set_xlabel(
                        f"{'✓' if right else '✗'} {_short(classes[answer])}",
                        color=_RIGHT if right else _WRONG,
                        fontsize=8.5,
                        labelpad=2,
                    )
                for axes in line:
                    _cell(axes)
            true_class = _short(classes[shown.labels[image]])
            cells[0][0].set_title(f"true: {true_class}", loc="center", fontsize=9.5)
            for axes, network in zip(cells[0][1:], networks, strict=True):
                axes.set_title(network.method, loc="center", fontsize=9.5, color=INK)
    return figure
