from pathlib import Path

import numpy as np
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


def test_other_tables_are_named(tmp_path: Path) -> None:
    fill(tmp_path, "train.arrow")
    rejects("arrow", tmp_path, f"{tmp_path}/train.arrow: not a readable Arrow file: ")
