"""The prediction table: what one model answered on every test image, variant and attack.

Parquet, one row per (image, variant, level): `id` int64, `label` int32, `variant` string, `level`
float64, `predicted` int32, `top3` and `probabilities` (fixed-size lists of int32 and float32, most
probable first; padded with -1 and 0 where there are fewer classes), `texture_label` int32 or null.
Everything in the report is computed from these tables. Equal tables give equal bytes.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atcore.base import parquet
from atcore.base.arrow import array, constant
from atcore.base.errors import UserError

ATTACKS = {"linf": "pgd_linf", "l2": "pgd_l2", "spatial": "pgd_spatial"}
AUTO_ATTACKS = {"linf": "auto_attack_linf", "l2": "auto_attack_l2"}
TOP = 3

_METADATA = b"atcnn"
_SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "label": pa.int32(),
        "variant": pa.string(),
        "level": pa.float64(),
        "predicted": pa.int32(),
        "top3": pa.list_(pa.int32(), TOP),
        "probabilities": pa.list_(pa.float32(), TOP),
        "texture_label": pa.int32(),
    }
)


@dataclass(frozen=True)
class Predictions:
    """One model's answers on one variant at one level.

    Attributes:
        variant: `clean`, a name from run.variants, or an attack (one of `ATTACKS`, `AUTO_ATTACKS`).
        level: 0 for clean images, the level of the variant, or eps: on the [0, 1] pixel scale, in
            pixels for `pgd_spatial`.
        ids: int64, N.
        labels: int32, N.
        top3: int32, N x 3, most probable first; -1 where there are fewer classes.
        probabilities: float32, N x 3, of the same classes.
        texture_labels: int32, N, or None.
    """

    variant: str
    level: float
    ids: NDArray[np.int64]
    labels: NDArray[np.int32]
    top3: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    texture_labels: NDArray[np.int32] | None = None

    @property
    def predicted(self) -> NDArray[np.int32]:
        """The most probable class, int32, N."""
        return self.top3[:, 0]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the label, N."""
        return np.asarray(self.predicted == self.labels)


def joined(parts: Iterable[Predictions]) -> list[Predictions]:
    """One item per variant and level, of items of some images each, one after the other."""
    found = []
    for (variant, level), group in groupby(parts, key=lambda part: (part.variant, part.level)):
        shards = list(group)
        textures = [s.texture_labels for s in shards if s.texture_labels is not None]
        found.append(
            Predictions(
                variant=variant,
                level=level,
                ids=np.concatenate([s.ids for s in shards]),
                labels=np.concatenate([s.labels for s in shards]),
                top3=np.concatenate([s.top3 for s in shards]),
                probabilities=np.concatenate([s.probabilities for s in shards]),
                texture_labels=np.concatenate(textures) if textures else None,
            )
        )
    return found


def _columns(part: Predictions) -> pa.Table:
    n = len(part.ids)
    top3, probabilities = array(part.top3, pa.int32()), array(part.probabilities, pa.float32())
    textures = part.texture_labels
    return pa.table(
        {
            "id": array(part.ids, pa.int64()),
            "label": array(part.labels, pa.int32()),
            "variant": constant(part.variant, n),
            "level": array(np.full(n, part.level), pa.float64()),
            "predicted": array(part.predicted, pa.int32()),
            "top3": pa.FixedSizeListArray.from_arrays(top3, TOP),
            "probabilities": pa.FixedSizeListArray.from_arrays(probabilities, TOP),
            "texture_label": pa.nulls(n) if textures is None else array(textures, pa.int32()),
        },
        schema=_SCHEMA,
    )


def write(parts: list[Predictions], classes: tuple[str, ...], path: Path) -> None:
    """Write all answers of one model atomically, in the order given."""
    metadata = {_METADATA: json.dumps({"classes": classes}).encode()}
    table = pa.concat_tables([_columns(part) for part in parts]).replace_schema_metadata(metadata)
    parquet.write(table, path)


def read(path: Path) -> tuple[list[Predictions], tuple[str, ...]]:
    """The answers by variant and level in the order written, and the class names.

    Raises:
        UserError: the file is no prediction table.
    """
    table = parquet.read_as("prediction table", _SCHEMA, path)
    try:
        classes = tuple(json.loads(table.schema.metadata[_METADATA])["classes"])
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: no class names in the schema's metadata") from error
    variants = table.column("variant").to_pylist()
    levels = table.column("level").to_pylist()
    keys = list(zip(variants, levels, strict=True))
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    parts = []
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        rows = table.slice(start, end - start).combine_chunks()
        textures = rows.column("texture_label")
        parts.append(
            Predictions(
                variant=keys[start][0],
                level=keys[start][1],
                ids=rows.column("id").to_numpy(),
                labels=rows.column("label").to_numpy(),
                top3=_matrix(rows.column("top3")),
                probabilities=_matrix(rows.column("probabilities")),
                texture_labels=None if textures.null_count else textures.to_numpy(),
            )
        )
    return parts, classes


def _matrix(column: pa.ChunkedArray) -> Any:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, TOP)
