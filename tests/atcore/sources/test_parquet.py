import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_images import fill, left_out, read_all, rejects

from atcore.base.errors import UserError
from atcore.images.decode import decode
from atcore.sources.formats import load


def write_parquet(
    path: Path,
    labels: Iterable[Any],
    *,
    names: Any = None,
    image: str = "image",
    label: str = "label",
    row_group: int = 300,
) -> None:
    values = list(labels)
    images = [{"bytes": f"{path.stem} {row}".encode(), "path": None} for row in range(len(values))]
    image_type = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({image: pa.array(images, image_type), label: values})
    if names is not None:
        features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=row_group)


@pytest.mark.parametrize("image", ["image", "img"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
def test_parquet_columns_and_class_names(image: str, label: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [1, 0], names=["cat", "dog"], image=image, label=label)
    source = load("parquet", tmp_path)
    assert source.classes == ("cat", "dog")
    entries = source.splits["train"]
    assert entries.names == [f"{tmp_path}/a.parquet: row {row}" for row in range(2)]
    assert entries.labels.tolist() == [1, 0]
    assert entries.labels.dtype == np.int32


def test_parquet_files_are_split_by_their_names(tmp_path: Path) -> None:
    for name in ("cats_Test", "dev", "train-00000-of-00002", "train-00001-of-00002"):
        write_parquet(tmp_path / f"{name}.parquet", [0, 1])
    source = load("parquet", tmp_path)
    assert source.classes == ("0", "1")
    assert {split: part.place for split, part in source.splits.items()} == {
        "train": "train-00000-of-00002.parquet, train-00001-of-00002.parquet",
        "validation": "dev.parquet",
        "test": "cats_Test.parquet",
    }
    assert read_all(source, "train") == [
        b"train-00000-of-00002 0",
        b"train-00000-of-00002 1",
        b"train-00001-of-00002 0",
        b"train-00001-of-00002 1",
    ]
    assert read_all(source, "validation") == [b"dev 0", b"dev 1"]
    assert read_all(source, "test") == [b"cats_Test 0", b"cats_Test 1"]


def test_a_shard_without_its_fellow_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 1])
    rejects(
        "parquet",
        tmp_path,
        f"{tmp_path}: of the 2 files train-N-of-00002 1 missing: train-00001-of-00002",
    )


def test_a_name_without_a_split_beside_others_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cats.parquet", [0, 1])
    write_parquet(tmp_path / "cats_test.parquet", [0, 1])
    rejects("parquet", tmp_path, f"{tmp_path}/cats.parquet: words for a split in its name: none; ")


def test_any_rows_are_read_across_files_row_groups_and_batches(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_parquet(tmp_path / f"{name}.parquet", np.arange(1000) % 2, row_group=600)
    source = load("parquet", tmp_path)
    everything = [f"{name} {row}".encode() for name in "ab" for row in range(1000)]
    assert read_all(source, "train") == everything
    rows = np.sort(np.random.default_rng(0).permutation(2000)[:150])
    assert list(source.read("train", rows)) == [everything[row] for row in rows]
    assert list(source.read("train", np.array([1999]))) == [b"b 999"]


def test_a_row_without_image_is_empty(tmp_path: Path) -> None:
    images = pa.array([{"bytes": b"x"}, {"bytes": None}, None], pa.struct({"bytes": pa.binary()}))
    pq.write_table(pa.table({"img": images, "label": [0, 1, 1]}), tmp_path / "a.parquet")
    assert read_all(load("parquet", tmp_path), "train") == [b"x", b"", b""]


IMAGES = pa.array([{"bytes": b""}] * 2, pa.struct({"bytes": pa.binary()}))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param({"label": [0, 1]}, "no column image or img", id="no-image"),
        pytest.param({"image": IMAGES, "y": [0.5, 1]}, "no labels in it, such as a", id="no-label"),
        pytest.param({"image": [1, 2], "label": [0, 1]}, "column image is int64", id="no-bytes"),
        pytest.param(
            {"image": IMAGES, "label": pa.array([0, 2**63], pa.uint64())},
            "column label has a value that is no label: Integer value 9223372036854775808",
            id="too-large",
        ),
        pytest.param({"image": IMAGES, "label": [0, -2]}, "row 1: label -2 is not", id="negative"),
        pytest.param(
            {"image": IMAGES, "label": [[0], [1]]}, "column label is list<", id="several-each"
        ),
        pytest.param(
            {"image": IMAGES, "label": [0, 0.5]}, "column label has a value that is", id="fraction"
        ),
        pytest.param(
            {"image": IMAGES, "label": pa.array([b"a", b"\xff"]).cast(pa.string(), safe=False)},
            "column label has a value that is no label: 'utf-8' codec can't decode",
            id="no-utf-8",
        ),
    ],
)
def test_parquet_with_other_columns_is_rejected(
    columns: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(dict(columns)), tmp_path / "a.parquet")
    rejects("parquet", tmp_path, f"{tmp_path}/a.parquet: {message}")


def test_a_label_beyond_the_class_names_is_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [0, 1, 2], names=["cat", "dog"])
    rejects("parquet", tmp_path, f"{tmp_path}/a.parquet: row 2: label 2 is not in 0..1")


def test_a_class_without_training_image_is_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 2, 2], names=["cat", "dog", "emu"])
    write_parquet(tmp_path / "test.parquet", [0, 1, 2], names=["cat", "dog", "emu"])
    rejects("parquet", tmp_path, f"{tmp_path}: class 'dog' has no training image")


def test_classes_that_no_image_has_are_left_out(tmp_path: Path) -> None:
    names = ["ant", "cat", "dog", "emu"]
    write_parquet(tmp_path / "train.parquet", [3, 1, 3], names=names)
    write_parquet(tmp_path / "test.parquet", [1, 3], names=names)
    source = load("parquet", tmp_path)
    assert source.classes == ("cat", "emu")
    assert source.splits["train"].labels.tolist() == [1, 0, 1]
    assert source.splits["test"].labels.tolist() == [0, 1]
    assert left_out(source) == {"classes without images": ["ant", "dog"]}


def test_a_single_class_is_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [0, 0])
    rejects("parquet", tmp_path, f"{tmp_path}: classes: 0; at least 2")


def test_parquet_files_agree_on_the_class_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", [0, 1], names=["cat", "dog"])
    write_parquet(tmp_path / "train.parquet", [0, 1], names=["dog", "cat"])
    message = f"(dog, cat) differ from those of {tmp_path}/test.parquet (cat, dog); let all"
    rejects("parquet", tmp_path, f"{tmp_path}/train.parquet: its class names {message}")
    write_parquet(tmp_path / "train.parquet", [0, 1])
    message = f"(numbers or names without a list) differ from those of {tmp_path}/test.parquet"
    rejects("parquet", tmp_path, f"{tmp_path}/train.parquet: its class names {message}")


def test_parquet_needs_training_images(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", [0, 1])
    rejects("parquet", tmp_path, f"{tmp_path}: no training images, only test (test.parquet)")


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, np.arange(1000) % 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    rejects("parquet", tmp_path, f"{path}: not a readable Parquet file: ")
    path.write_bytes(whole)
    source = load("parquet", tmp_path)
    path.write_bytes(b"\xff" * 3000 + whole[3000:])
    with pytest.raises(UserError, match=r"a\.parquet: not a readable Parquet file"):
        read_all(source, "train")


def test_metadata_that_is_not_huggingface_s_is_named(tmp_path: Path) -> None:
    table = pa.table({"image": IMAGES, "label": [0, 1]}, metadata={"huggingface": "[]"})
    pq.write_table(table, tmp_path / "a.parquet")
    rejects("parquet", tmp_path, f"{tmp_path}/a.parquet: its `huggingface` metadata")


@pytest.mark.parametrize("info", ['{"features": null}', '{"description": "cats"}'])
def test_metadata_without_features_say_nothing_of_labels(info: str, tmp_path: Path) -> None:
    metadata = {"huggingface": f'{{"info": {info}}}'}
    table = pa.table({"image": IMAGES, "label": [1, 0]}, metadata=metadata)
    pq.write_table(table, tmp_path / "a.parquet")
    source = load("parquet", tmp_path)
    assert source.classes == ("0", "1")
    assert source.splits["train"].labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        pytest.param([10, 2.5, 30], ("10", "2.5", "30"), id="numbers"),
        pytest.param(
            {"2": "emu", "0": "dog", "1": "cat"}, ("dog", "cat", "emu"), id="by-their-numbers"
        ),
        pytest.param(["great\nauk", " cat ", "emu"], ("great auk", "cat", "emu"), id="spaces"),
        pytest.param(["-1", "cat", "emu"], ("-1", "cat", "emu"), id="minus-one"),
    ],
)
def test_names_of_classes_become_texts_in_the_order_of_their_numbers(
    names: Any, classes: tuple[str, ...], tmp_path: Path
) -> None:
    write_parquet(tmp_path / "a.parquet", [2, 0, 1], names=names)
    source = load("parquet", tmp_path)
    assert source.classes == classes
    assert source.splits["train"].labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("cat", 'the names of classes are "cat", not a list such as ["cat", "dog"]; mend them, or'),
        ([], 'the names of classes are [], not a list such as ["cat", "dog"]; mend them, or'),
        (["", "dog", "emu"], 'the name of class 0 is "", not a text; mend them, or'),
        (["cat", " \n", "emu"], 'the name of class 1 is " \\n", not a text; mend them, or'),
        (["cat", "dog", None], "the name of class 2 is null, not a text; mend them, or"),
        ([False, True, "emu"], "the name of class 0 is false, not a text; mend them, or"),
        ([["cat"], "dog", "emu"], 'the name of class 0 is ["cat"], not a text; mend them, or'),
        ({"0": "cat", "2": "emu"}, "the name of class 1 is null, not a text; mend them, or"),
        (["emu", "cat", "cat"], "two classes have the name 'cat', 1 and 2; mend them, or"),
        (["1", "cat", 1], "two classes have the name '1', 0 and 2; mend them, or"),
    ],
)
def test_faulty_names_of_classes_are_refused(names: Any, message: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [0, 2, 1], names=names)
    rejects(
        "parquet",
        tmp_path,
        f"{tmp_path}/a.parquet: column label: in its `huggingface` metadata {message}",
    )


@pytest.mark.parametrize(
    ("columns", "key", "twice"),
    [
        ("image image label", None, "image"),
        ("picture picture label", None, "picture"),
        ("image label label", None, "label"),
        ("image label label", "label", "label"),
        ("image kind kind", None, "kind"),
        ("image label kind kind", "kind", "kind"),
    ],
)
def test_a_column_whose_name_another_one_has_is_refused(
    columns: str, key: str | None, twice: str, tmp_path: Path
) -> None:
    names = columns.split()
    values = [IMAGES if name in ("image", "picture") else pa.array([0, 1]) for name in names]
    pq.write_table(pa.Table.from_arrays(values, names), tmp_path / "a.parquet")
    rejects(
        "parquet",
        tmp_path,
        f"{tmp_path}/a.parquet: 2 columns have the name '{twice}'; rename or remove all but one",
        key,
    )


def test_columns_that_are_not_read_may_share_a_name(tmp_path: Path) -> None:
    values = [pa.array([7, 8]), IMAGES, pa.array([7, 8]), pa.array([1, 0])]
    table = pa.Table.from_arrays(values, ["id", "image", "id", "label"])
    pq.write_table(table, tmp_path / "a.parquet")
    source = load("parquet", tmp_path)
    assert source.splits["train"].labels.tolist() == [1, 0]
    assert read_all(source, "train") == [b"", b""]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "empty"),
        ("<!DOCTYPE html>", "a web page (HTML); download it again"),
        ("version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS; fetch the file"),
    ],
)
def test_what_is_mistaken_for_parquet_is_named(content: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text(content)
    rejects("parquet", tmp_path, f"{tmp_path}/a.parquet: {what}")


def test_other_files_beside_parquet_are_counted(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [0, 1])
    fill(tmp_path, "b.csv", "photographs/b.jpg", "dataset_infos.json", "cats.py")
    assert left_out(load("parquet", tmp_path)) == {
        "texts beside the images": [f"{tmp_path}/b.csv", f"{tmp_path}/dataset_infos.json"],
        "other files": [f"{tmp_path}/cats.py", f"{tmp_path}/photographs/b.jpg"],
    }


def test_a_folder_of_other_files_is_rejected(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.tar", "train/2.tar")
    rejects(
        "parquet",
        tmp_path,
        f"{tmp_path}: no file *.parquet in it, but train/1.tar, train/2.tar; for such files set "
        "the dataset's `format` to webdataset",
    )


# Labels


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        pytest.param(["dog", "cat", "dog", "emu"], ["cat", "dog", "emu"], [1, 0, 1, 2], id="names"),
        pytest.param(
            pa.array(["dog", "cat", "dog", "emu"]).dictionary_encode(),
            ["cat", "dog", "emu"],
            [1, 0, 1, 2],
            id="dictionary",
        ),
        pytest.param(
            pa.array(["b", "a", "b", "a"], pa.large_string()), ["a", "b"], [1, 0, 1, 0], id="large"
        ),
        pytest.param(
            pa.DictionaryArray.from_arrays([1, 0, 1, 1], [7, 30]),
            ["7", "30"],
            [1, 0, 1, 1],
            id="dictionary-of-numbers",
        ),
        pytest.param(["10", "9", "9", "2"], ["2", "9", "10"], [2, 1, 1, 0], id="numbers-as-names"),
        # The value decides, however long: 5,000 digits, of which the first ones are zeros.
        pytest.param(
            [f"{'0' * 4999}3", "9" * 5000, "8" * 5000, "\u0661\u0662"],
            [f"{'0' * 4999}3", "\u0661\u0662", "8" * 5000, "9" * 5000],
            [0, 3, 2, 1],
            id="long-numbers",
        ),
        pytest.param([10, 9, 9, 2], ["2", "9", "10"], [2, 1, 1, 0], id="numbers-with-gaps"),
        pytest.param(pa.array([3, 1, 1, 3], pa.uint8()), ["1", "3"], [1, 0, 0, 1], id="small"),
        pytest.param([1.0, 0.0, 1.0, 0.0], ["0", "1"], [1, 0, 1, 0], id="floating-point"),
        pytest.param([True, False, True, True], ["false", "true"], [1, 0, 1, 1], id="boolean"),
    ],
)
def test_labels_are_names_or_numbers(
    labels: Any, classes: list[str], codes: list[int], tmp_path: Path
) -> None:
    table = pa.table({"image": [b"0", b"1", b"2", b"3"], "label": labels})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    source = load("parquet", tmp_path)
    assert list(source.classes) == classes
    assert source.splits["train"].labels.tolist() == codes
    assert read_all(source, "train") == [b"0", b"1", b"2", b"3"]


def test_files_with_other_names_share_the_classes_of_all(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", ["emu", "cat"])
    write_parquet(tmp_path / "train-1.parquet", ["dog", "dog"])
    write_parquet(tmp_path / "test.parquet", ["dog", "cat", "emu"])
    source = load("parquet", tmp_path)
    assert source.classes == ("cat", "dog", "emu")
    assert source.splits["train"].labels.tolist() == [2, 0, 1, 1]
    assert source.splits["test"].labels.tolist() == [1, 0, 2]


def write_two_labels(path: Path, *, described: bool) -> None:
    """The columns of CIFAR-100."""
    table = pa.table(
        {
            "img": pa.array([{"bytes": b"x", "path": None}] * 3),
            "fine_label": [2, 0, 1],
            "coarse_label": [1, 0, 1],
        }
    )
    if described:
        features = {
            "img": {"_type": "Image"},
            "fine_label": {"_type": "ClassLabel", "names": ["cat", "oak", "pine"]},
            "coarse_label": {"_type": "ClassLabel", "names": ["animal", "tree"]},
        }
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path)


def test_the_key_label_names_one_of_two_columns(tmp_path: Path) -> None:
    write_two_labels(tmp_path / "a.parquet", described=True)
    fine = load("parquet", tmp_path, "fine_label")
    assert fine.classes == ("cat", "oak", "pine")
    assert fine.splits["train"].labels.tolist() == [2, 0, 1]
    coarse = load("parquet", tmp_path, "coarse_label")
    assert coarse.classes == ("animal", "tree")
    assert coarse.splits["train"].labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("described", [True, False])
def test_two_columns_of_labels_are_named(described: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_two_labels(path, described=described)
    rejects(
        "parquet",
        tmp_path,
        f"{path}: labels may be in the columns fine_label, coarse_label; let the dataset's "
        "`label` in params.yaml name one",
    )
    rejects(
        "parquet",
        tmp_path,
        f"{path}: no column fine, which the dataset's `label` names; columns: img, fine_label, "
        "coarse_label",
        "fine",
    )


def test_the_only_column_with_classes_has_the_labels(tmp_path: Path) -> None:
    features = {
        "kind": {"_type": "ClassLabel", "names": ["cat", "dog"]},
        "id": {"_type": "Value"},
        "tags": [{"_type": "Value"}],
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"id": [7, 8], "picture": [b"a", b"b"], "kind": [1, 0]}, metadata=metadata)
    pq.write_table(table, tmp_path / "a.parquet")
    source = load("parquet", tmp_path)
    assert source.classes == ("cat", "dog")
    assert source.splits["train"].labels.tolist() == [1, 0]
    assert read_all(source, "train") == [b"a", b"b"]


# Images without a label, and files without rows


def test_a_test_file_without_labels_is_left_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [1, 0], names=["cat", "dog"])
    write_parquet(tmp_path / "test.parquet", [-1, -1], names=["cat", "dog"])
    source = load("parquet", tmp_path)
    assert source.classes == ("cat", "dog")
    assert list(source.splits) == ["train"]
    assert left_out(source) == {
        "images without a label": [f"{tmp_path}/test.parquet: row {row}" for row in range(2)]
    }


@pytest.mark.parametrize("label", [None, "kind"])
def test_a_test_file_without_a_column_of_labels_is_left_out(
    label: str | None, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "train.parquet", ["dog", "cat"], label=label or "label")
    for shard in range(2):
        table = pa.table({"image": IMAGES})
        pq.write_table(table, tmp_path / f"test-0000{shard}-of-00002.parquet")
    source = load("parquet", tmp_path, label)
    assert list(source.splits) == ["train"]
    assert left_out(source) == {
        "files without labels": [f"{tmp_path}/test-0000{n}-of-00002.parquet" for n in range(2)]
    }
    # One of two is a mistake.
    write_parquet(tmp_path / "test-00000-of-00002.parquet", ["dog"], label=label or "label")
    rejects("parquet", tmp_path, f"{tmp_path}/test-00001-of-00002.parquet: no ", label)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        pytest.param([-1, 1, 0, -1, 1], ["cat", "dog"], id="numbers"),
        pytest.param([-1, 1, 0, -1, 1], None, id="numbers-alone"),
        pytest.param([None, 1, 0, None, 1], ["cat", "dog"], id="null"),
        pytest.param(["", "dog", "cat", None, "dog"], None, id="names"),
        pytest.param([float("nan"), 1.0, 0.0, None, 1.0], None, id="floating-point"),
    ],
)
def test_single_images_without_a_label_are_left_out(
    labels: list[Any], names: list[str] | None, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "a.parquet", labels, names=names, row_group=2)
    write_parquet(tmp_path / "b.parquet", labels[1:3], names=names)
    source = load("parquet", tmp_path)
    entries = source.splits["train"]
    assert [source.classes[label] for label in entries.labels] == (
        ["dog", "cat", "dog", "dog", "cat"] if "dog" in source.classes else list("10110")
    )
    assert [name.rpartition("/")[2] for name in entries.names] == [
        *(f"a.parquet: row {row}" for row in (1, 2, 4)),
        *(f"b.parquet: row {row}" for row in (0, 1)),
    ]
    assert read_all(source, "train") == [b"a 1", b"a 2", b"a 4", b"b 0", b"b 1"]
    assert list(source.read("train", np.array([2, 4]))) == [b"a 4", b"b 1"]
    assert left_out(source) == {
        "images without a label": [f"{tmp_path}/a.parquet: row {row}" for row in (0, 3)]
    }


def test_without_any_label_there_is_nothing_to_learn(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [-1, -1])
    rejects(
        "parquet",
        tmp_path,
        f"{tmp_path}: no training images; left out, images without a label: 2 ({tmp_path}/a.par",
    )


def test_a_file_without_rows_is_left_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 1], names=["cat", "dog"])
    empty = tmp_path / "train-00001-of-00002.parquet"
    pq.write_table(pa.table({"image": pa.nulls(0), "label": pa.nulls(0)}), empty)
    source = load("parquet", tmp_path)
    assert len(source.splits["train"].names) == 2
    assert left_out(source) == {"files without images": [str(empty)]}
    (tmp_path / "train-00000-of-00002.parquet").unlink()
    empty.rename(tmp_path / "train.parquet")
    rejects("parquet", tmp_path, f"{tmp_path}: no images in train.parquet")


# Where the images are


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_images_may_be_a_column_of_bytes(kind: pa.DataType, tmp_path: Path) -> None:
    images = pa.array([b"x", None, b"z"], kind)
    pq.write_table(pa.table({"image": images, "label": [0, 1, 1]}), tmp_path / "a.parquet")
    assert read_all(load("parquet", tmp_path), "train") == [b"x", b"", b"z"]


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("absolute", [True, False])
def test_images_may_be_files_that_the_table_names(
    absolute: bool, statistics: bool, tmp_path: Path
) -> None:
    """As the library `datasets` writes what it has loaded from a folder of images."""
    raw, elsewhere = tmp_path / "raw", tmp_path / "elsewhere"
    fill(elsewhere if absolute else raw, "cat/1.jpg", "dog/1.jpg", "dog/2.jpg")
    names = [f"{elsewhere}/{name}" if absolute else name for name in ("dog/2.jpg", "cat/1.jpg")]
    fill(raw, "unused.jpg")
    images = [
        {"bytes": None, "path": names[0]},
        {"bytes": b"inside", "path": "dog/1.jpg"},
        {"bytes": None, "path": None},
        {"bytes": None, "path": names[1]},
    ]
    table = pa.table({"image": images, "label": ["dog", "dog", "cat", "cat"]})
    pq.write_table(table, raw / "a.parquet", row_group_size=3, write_statistics=statistics)
    source = load("parquet", raw)
    assert read_all(source, "train") == [b"dog/2.jpg", b"inside", b"", b"cat/1.jpg"]
    assert list(source.read("train", np.array([1, 3]))) == [b"inside", b"cat/1.jpg"]
    place = elsewhere if absolute else raw
    assert source.splits["train"].names[::3] == [f"{place}/dog/2.jpg", f"{place}/cat/1.jpg"]
    unused = ["unused.jpg"] if absolute else ["dog/1.jpg", "unused.jpg"]
    assert left_out(source) == {"other files": [f"{raw}/{name}" for name in unused]}


@pytest.mark.parametrize("classes", ["cat dog", "dog"])
@pytest.mark.parametrize("copied", ["", "photographs/"])
def test_what_the_library_datasets_writes_from_files_is_read_on_another_machine_too(
    copied: str, classes: str, tmp_path: Path
) -> None:
    """It writes absolute names, and no bytes; a shard may have a single class."""
    raw, there = tmp_path / "raw", tmp_path / "home/ann/photographs"
    names = [f"{name}/{number}.jpg" for name in classes.split() for number in range(2)]
    fill(there, *names)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    columns = {
        "image": [str(there / name) for name in names],
        "label": [name.partition("/")[0] for name in names],
    }
    raw.mkdir()
    datasets.Dataset.from_dict(columns, features).to_parquet(raw / "train-1.parquet")
    write_parquet(raw / "train-0.parquet", [0, 1], names=["cat", "dog"])
    wanted = [b"train-0 0", b"train-0 1", *(name.encode() for name in names)]
    assert read_all(load("parquet", raw), "train") == wanted

    there.rename(tmp_path / "elsewhere")
    rejects("parquet", raw, f"{raw}/train-1.parquet: row 0: no image file '{there}/{names[0]}' in")
    shutil.copytree(tmp_path / "elsewhere", raw / copied, dirs_exist_ok=True)
    fill(raw, "bird/0.jpg", "bird/1.jpg")
    assert read_all(load("parquet", raw), "train") == wanted


def test_images_may_be_names_of_files_alone(tmp_path: Path) -> None:
    fill(tmp_path, "images/1.jpg", "images/2.jpg")
    table = pa.table({"image": ["images/2.jpg", "images/1.jpg"], "label": ["b", "a"]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_all(load("parquet", tmp_path), "train") == [b"images/2.jpg", b"images/1.jpg"]


def test_image_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg")
    images = [{"bytes": b"x", "path": "0.jpg"}]
    images += [{"bytes": None, "path": f"/home/ann/cats/{name}.jpg"} for name in range(3)]
    images += [{"bytes": None, "path": "1.jpg"}]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 0, 1, 0]}), tmp_path / "a.parquet")
    rejects(
        "parquet",
        tmp_path,
        f"{tmp_path}/a.parquet: row 1: no image file '/home/ann/cats/0.jpg' in {tmp_path} or "
        "below; missing: 3 of 4; ",
    )


# Where the files are


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("data/train-00000-of-00002", "data/test-00000-of-00001"),
        ("cifar10/data/train-00000-of-00002", "cifar10/data/test-00000-of-00001"),
        ("default/train/0000", "default/test/0000"),
        ("train/cats-00000-of-00002", "test/cats-00000-of-00001"),
    ],
)
def test_the_hub_s_own_layout(train: str, test: str, tmp_path: Path) -> None:
    fill(tmp_path, "README.md", ".gitattributes", "LICENSE")
    for name in (train, train.replace("00000", "00001"), test):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_parquet(tmp_path / f"{name}.parquet", [0, 1], names=["cat", "dog"])
    source = load("parquet", tmp_path)
    assert {split: len(part.names) for split, part in source.splits.items()} == {
        "train": 4 if "00000" in train else 2,
        "test": 2,
    }
    stem = test.rpartition("/")[2].encode()
    assert read_all(source, "test") == [stem + b" 0", stem + b" 1"]
    assert left_out(source) == {"texts beside the images": [f"{tmp_path}/LICENSE"]}


def test_two_datasets_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        write_parquet(tmp_path / name / "train.parquet", [0, 1])
    rejects(
        "parquet",
        tmp_path,
        f"{tmp_path}/cats: train files lie here and in {tmp_path}/dogs; keep those of one folder",
    )


def test_cifar10_as_parquet(real_data: Path) -> None:
    source = load("parquet", real_data / "cifar10")
    assert source.classes[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(source.splits["train"].labels).tolist() == [5000] * 10
    assert np.bincount(source.splits["test"].labels).tolist() == [1000] * 10
    (data,) = source.read("test", np.array([9999]))
    assert decode(data, 32, "x").std() > 0
