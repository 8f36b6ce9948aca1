"""Exports of image tables: others open them, and they are datasets of this pipeline again."""

import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from image_tables import image_table

from atcore.base.errors import UserError
from atcore.images.decode import decode_shard
from atcore.images.stored import write
from atcore.images.table import ImageTable
from atcore.sources.formats import load
from tasks.tools.export import __main__ as export

PROJECT = Path(__file__).parents[3]
# More than a group of rows, and square, as images of a dataset are.
TABLE = image_table(130, textures=True)
TABLE = ImageTable(
    ids=TABLE.ids,
    images=np.ascontiguousarray(TABLE.images[:, :, :6]),
    labels=TABLE.labels,
    classes=TABLE.classes,
    texture_labels=TABLE.texture_labels,
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write(TABLE, tmp_path / "test.arrow")
    return tmp_path / "test.arrow"


def read_back(kind: str, folder: Path) -> dict[bytes, str]:
    """The class of every image of a dataset, by its pixels."""
    source = load(kind, folder)
    entries = source.splits["train"]
    encoded = list(source.read("train", np.arange(len(entries.labels))))
    decoded = decode_shard([("x", data) for data in encoded], 6)
    assert not decoded.problems
    return {
        image.tobytes(): source.classes[label]
        for image, label in zip(decoded.images, entries.labels, strict=True)
    }


@pytest.mark.parametrize(("kind", "name"), [("parquet", "train.parquet"), ("folder", "train")])
def test_an_export_is_a_dataset_of_the_same_pixels_and_classes(
    table: Path, tmp_path: Path, kind: str, name: str
) -> None:
    export.main(str(table), kind, str(tmp_path / "raw" / name))
    expected = {
        image.tobytes(): TABLE.classes[label]
        for image, label in zip(TABLE.images, TABLE.labels, strict=True)
    }
    assert read_back(kind, tmp_path / "raw") == expected


def test_the_library_datasets_opens_parquet_as_pictures(table: Path, tmp_path: Path) -> None:
    export.main(str(table), "parquet", str(tmp_path / "out.parquet"))
    found = datasets.Dataset.from_parquet(
        str(tmp_path / "out.parquet"), cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(found.features["image"], datasets.Image)
    for column in ("label", "texture_label"):
        assert found.features[column].names == ["cat", "dog", "Käfer"]
    assert found["id"][:] == TABLE.ids.tolist()
    assert found["label"][:] == TABLE.labels.tolist()
    assert TABLE.texture_labels is not None
    assert found["texture_label"][:] == TABLE.texture_labels.tolist()
    picture = found[129]["image"]
    assert picture.format == "PNG"
    assert np.array_equal(np.asarray(picture), TABLE.images[129])


def test_what_is_there_already_stays(table: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="out: is there already"):
        export.main(str(table), "folder", str(tmp_path / "out"))


def test_a_class_that_no_folder_can_be_called_is_named(tmp_path: Path) -> None:
    some = TABLE.rows(slice(3))
    write(ImageTable(some.ids, some.images, some.labels, ("a", "b/c", "d")), tmp_path / "t.arrow")
    with pytest.raises(UserError, match=r"t\.arrow: no folder can .* class 'b/c'; export to parq"):
        export.main(str(tmp_path / "t.arrow"), "folder", str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["t.arrow"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["test.arrow", "out"],
            "usage: python -m tasks.tools.export WHAT --to FORMAT OUT\n",
        ),
        (
            ["test.arrow", "--in", "folder", "out"],
            "usage: python -m tasks.tools.export WHAT --to FORMAT OUT\n",
        ),
        (
            ["test.arrow", "--to", "zip", "out"],
            "error: --to: 'zip' is unknown for an image table; allowed: parquet, folder\n",
        ),
        (
            ["nowhere", "--to", "pt2", "out"],
            "error: nowhere: no such file or folder; name an image table, such as data/shapes/"
            "test.arrow, or the folder of a network, such as models/shapes/standard/0\n",
        ),
        (["test.arrow", "--to", "folder", "out"], ""),
    ],
)
def test_the_command(table: Path, arguments: list[str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tasks.tools.export", *arguments],
        cwd=table.parent,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == said
    assert ended.returncode == (2 if said else 0)
    assert (table.parent / "out").exists() == (not said)
