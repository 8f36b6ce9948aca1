"""The table of measures: what was asked of the salience maps of one network, image by image.

Parquet, one row per (image, variant, level, map, measure): `id` int64, `variant` string, `level`
float64, `map` string, `measure` string, `value` float32. Equal tables give equal bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atcore.base import parquet
from atcore.base.arrow import array, constant

# The map that is the same everywhere: its shares are what chance gives.
UNIFORM = "uniform"

_SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "variant": pa.string(),
        "level": pa.float64(),
        "map": pa.string(),
        "measure": pa.string(),
        "value": pa.float32(),
    }
)


@dataclass(frozen=True)
class Measured:
    """One measure of one kind of map, on one variant at one level.

    Attributes:
        variant, level: as in `atcore.evaluation.predictions`.
        map: a name of `atcore.salience.maps.MAPS`, or `uniform`.
        measure: `gini`, `rank_correlation` and `ssim` (with the map of the clean image),
            `untrained_rank_correlation` (with that of a network with random weights), `inside` and
            `outline` (shares of salience), `edges` (rank correlation with the image's edges).
        ids: int64, N.
        values: float32, N; NaN where a map has none, see `atcore.salience.scores`.
    """

    variant: str
    level: float
    map: str
    measure: str
    ids: NDArray[np.int64]
    values: NDArray[np.float32]

    @property
    def key(self) -> tuple[str, float, str, str]:
        return self.variant, self.level, self.map, self.measure


def joined(parts: Iterable[Measured]) -> list[Measured]:
    """One item per key, in the order in which keys first appear, of items of different images."""
    groups: dict[tuple[str, float, str, str], list[Measured]] = {}
    for part in parts:
        groups.setdefault(part.key, []).append(part)
    return [
        Measured(
            *key,
            ids=np.concatenate([part.ids for part in group]),
            values=np.concatenate([part.values for part in group]),
        )
        for key, group in groups.items()
    ]


def write(parts: Iterable[Measured], path: Path) -> None:
    """Write all measures of one network atomically, in the order given."""
    columns = [
        pa.table(
            {
                "id": array(part.ids, pa.int64()),
                "variant": constant(part.variant, len(part.ids)),
                "level": array(np.full(len(part.ids), part.level), pa.float64()),
                "map": constant(part.map, len(part.ids)),
                "measure": constant(part.measure, len(part.ids)),
                "value": array(part.values, pa.float32()),
            },
            schema=_SCHEMA,
        )
        for part in parts
    ]
    parquet.write(pa.concat_tables(columns), path)


def read(path: Path) -> list[Measured]:
    """The measures in the order written.

    Raises:
        UserError: the file is no table of measures.
    """
    table = parquet.read_as("table of measures", _SCHEMA, path)
    columns = (table.column(name).to_pylist() for name in ("variant", "level", "map", "measure"))
    ids, values = table.column("id").to_numpy(), table.column("value").to_numpy()
    found, start = [], 0
    for (variant, level, map_, measure), rows in groupby(zip(*columns, strict=True)):
        end = start + sum(1 for _ in rows)
        found.append(Measured(variant, level, map_, measure, ids[start:end], values[start:end]))
        start = end
    return found
