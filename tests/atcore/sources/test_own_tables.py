from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
from raw_images import fill, left_out, read_all, rejects

from atcore.images.decode import decode
from atcore.images.stored import write
from atcore.images.table import ImageTable
from atcore.sources.formats import load


def images(seed: int, count: int) -> ImageTable:
    rng = np.random.default_rng(seed)
    return ImageTable(
        ids=np.arange(count),
        images=rng.integers(0, 256, (count, 9, 9, 3), np.uint8),
        labels=np.arange(count, dtype=np.int32)[::-1] % 2 * 2,
        classes=("dog", "ant", "cat"),
    )


def test_the_pipeline_s_own_tables_are_read(tmp_path: Path) -> None:
    train, test = images(0, 6), images(1, 4)
    write(train, tmp_path / "train.arrow")
    write(test, tmp_path / "test.arrow")
    fill(tmp_path, "dataset.json")
    source = load("arrow", tmp_path)
    assert source.classes == ("dog", "cat")
    assert source.splits["train"].labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert source.splits["test"].names[3] == f"{tmp_path}/test.arrow: row 3"
    for split, table in (("train", train), ("test", test)):
        for encoded, wanted in zip(read_all(source, split), table.images, strict=True):
            assert np.array_equal(decode(encoded, 9, "x"), wanted)
    assert left_out(source) == {
        "classes without images": ["ant"],
        "texts beside the images": [f"{tmp_path}/dataset.json"],
    }


HELP = (
    "; only whole image tables that this pipeline has written are read so: export other data, as "
    "of the library `datasets`, as Parquet and set the dataset's `format` to parquet"
)


def test_other_tables_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    fill(tmp_path, path.name)
    message = rejects("arrow", tmp_path, f"{path}: not a readable Arrow file: ")
    assert message.endswith(HELP)
    table = pa.table({"image": [b"1", b"2"], "label": [0, 1]})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    message = rejects("arrow", tmp_path, f"{path}: no column id of type int64")
    assert message.endswith(HELP)


def test_what_is_said_of_what_the_library_datasets_saves_helps(tmp_path: Path) -> None:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    encoded = [{"bytes": b"1", "path": None}, {"bytes": b"2", "path": None}]
    saved = datasets.Dataset.from_dict({"image": encoded, "label": [1, 0]}, features)
    saved.save_to_disk(tmp_path / "saved")
    path = tmp_path / "saved/data-00000-of-00001.arrow"
    message = rejects("arrow", tmp_path / "saved", f"{path}: not a readable Arrow file: ")
    assert message.endswith(HELP)
    (tmp_path / "exported").mkdir()
    datasets.load_from_disk(tmp_path / "saved").to_parquet(tmp_path / "exported/train.parquet")
    source = load("parquet", tmp_path / "exported")
    assert source.classes == ("cat", "dog")
    assert source.splits["train"].labels.tolist() == [1, 0]
    assert read_all(source, "train") == [b"1", b"2"]
