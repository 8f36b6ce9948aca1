"""The prediction table: exact round trips, equal bytes, and refusal of other files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import assert_refused
from sameness import assert_same_arrays

from atcore.evaluation import predictions
from atcore.evaluation.predictions import Predictions

CLASSES = ("cat", "dog", "Käfer", "eel")


def part(variant: str, level: float, count: int, *, textures: bool = False) -> Predictions:
    rng = np.random.default_rng(abs(hash((count, level))))
    return Predictions(
        variant=variant,
        level=level,
        ids=rng.permutation(count).astype(np.int64) + 2**40,
        labels=rng.integers(0, 4, count).astype(np.int32),
        top3=np.stack([rng.permutation(4)[:3] for _ in range(count)]).astype(np.int32),
        probabilities=rng.random((count, 3)).astype(np.float32),
        texture_labels=rng.integers(0, 4, count).astype(np.int32) if textures else None,
    )


PARTS = [
    part("clean", 0.0, 20),
    part("saturated", 1.0, 20),
    part("saturated", 1024.0, 13),
    part("cue_conflict", 0.6, 20, textures=True),
    part("pgd_linf", 8 / 255, 1),
]


def assert_same(found: Predictions, expected: Predictions) -> None:
    assert (found.variant, found.level) == (expected.variant, expected.level)
    assert_same_arrays(
        found, expected, ("ids", "labels", "top3", "probabilities", "texture_labels")
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "p.parquet"
    predictions.write(PARTS, CLASSES, path)
    found, classes = predictions.read(path)
    assert classes == CLASSES
    assert len(found) == len(PARTS)
    for mine, theirs in zip(found, PARTS, strict=True):
        assert_same(mine, theirs)


def test_equal_predictions_give_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    predictions.write(PARTS, CLASSES, first)
    parts, classes = predictions.read(first)
    predictions.write(parts, classes, second)
    assert first.read_bytes() == second.read_bytes()
    predictions.write([replace(PARTS[0], level=0.5), *PARTS[1:]], CLASSES, second)
    assert first.read_bytes() != second.read_bytes()


def test_columns_are_those_that_are_documented(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    predictions.write(PARTS, CLASSES, path)
    table = pq.read_table(path)
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "int64",
        "label": "int32",
        "variant": "string",
        "level": "double",
        "predicted": "int32",
        "top3": "fixed_size_list<element: int32>[3]",
        "probabilities": "fixed_size_list<element: float>[3]",
        "texture_label": "int32",
    }
    assert table.num_rows == 74
    assert table["predicted"].to_pylist() == [row[0] for row in table["top3"].to_pylist()]
    assert table["texture_label"].null_count == 54


def test_predicted_and_correct_follow_the_most_probable_class() -> None:
    answers = Predictions(
        "clean",
        0.0,
        ids=np.array([5, 6, 7]),
        labels=np.array([1, 2, 0], dtype=np.int32),
        top3=np.array([[1, 2, 0], [0, 2, 1], [0, 1, -1]], dtype=np.int32),
        probabilities=np.zeros((3, 3), dtype=np.float32),
    )
    assert answers.predicted.tolist() == [1, 0, 0]
    assert answers.correct.tolist() == [True, False, True]


def test_a_folder_that_looks_like_a_partition_does_not_add_columns(tmp_path: Path) -> None:
    path = tmp_path / "dataset=shapes" / "p.parquet"
    predictions.write(PARTS, CLASSES, path)
    assert_same(predictions.read(path)[0][0], PARTS[0])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.parquet"
    predictions.write(PARTS, CLASSES, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert_refused(
        predictions.read, path, "not a readable Parquet file", "run the stage again that wrote it"
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(predictions.read, tmp_path / "missing.parquet")


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": [1], "image": [b""]}), path)
    assert_refused(
        predictions.read, path, "not a prediction table; its columns are id int64, image binary"
    )


def test_a_table_with_a_column_of_another_type_is_refused_naming_it(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    predictions.write(PARTS, CLASSES, path)
    table = pq.read_table(path)
    labels = table["label"].cast(pa.int64())
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, "label", labels), path)
    assert_refused(predictions.read, path, "not a prediction table", "label int64")


@pytest.mark.parametrize(
    "metadata",
    [None, {b"other": b"{}"}, {b"atcnn": json.dumps({}).encode()}, {b"atcnn": b"{classes"}],
    ids=["none", "another program's", "no classes", "no JSON"],
)
def test_a_table_without_class_names_is_refused(
    tmp_path: Path, metadata: dict[bytes, bytes] | None
) -> None:
    path = tmp_path / "p.parquet"
    predictions.write(PARTS, CLASSES, path)
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    assert_refused(predictions.read, path, "class names")
