import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from raw_images import fill, left_out, read_all, rejects

from atcore.base.errors import UserError
from atcore.sources.formats import load


def write_tar(path: Path, members: Mapping[str, str | bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else os.fsencode(content)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def labelled(ending: str, **labels: str) -> dict[str, str]:
    """Members with an image and a label for each key."""
    members = {}
    for key, label in labels.items():
        members |= {f"{key}.jpg": f"image {key}", f"{key}.{ending}": label}
    return members


def test_archives_are_split_by_their_names(tmp_path: Path) -> None:
    write_tar(tmp_path / "cats-train-000000.tar", labelled("cls", a="1", b="0"))
    write_tar(tmp_path / "cats-train-000001.tar", labelled("cls", a="10\n", b="1\n"))
    write_tar(tmp_path / "cats-val-000000.tar", labelled("cls", a="0", b="1", c="10"))
    source = load("webdataset", tmp_path)
    assert source.classes == ("0", "1", "10")
    assert {split: part.labels.tolist() for split, part in source.splits.items()} == {
        "train": [1, 0, 2, 1],
        "validation": [0, 1, 2],
    }
    assert source.splits["train"].place == "cats-train-000000.tar, cats-train-000001.tar"
    assert source.splits["train"].names[2] == f"{tmp_path}/cats-train-000001.tar: a"
    assert read_all(source, "train") == [b"image a", b"image b"] * 2
    assert list(source.read("validation", np.array([2]))) == [b"image c"]
    assert left_out(source) == {}


@pytest.mark.parametrize(
    ("ending", "labels", "key"),
    [
        ("cls", ["dog", "cat"], None),
        ("txt", ["dog\n", " cat"], None),
        ("json", ['{"label": "dog", "width": 64}', '{"label": "cat", "width": 64}'], None),
        ("json", ['{"kind": "dog"}', '{"kind": "cat"}'], None),
        ("json", ['{"kind": "dog", "width": 64}', '{"kind": "cat", "width": 64}'], "kind"),
        ("breed", ["dog", "cat"], "breed"),
    ],
)
def test_labels_lie_beside_the_image(
    ending: str, labels: list[str], key: str | None, tmp_path: Path
) -> None:
    write_tar(tmp_path / "a.tar", labelled(ending, **dict(zip("ab", labels, strict=True))))
    source = load("webdataset", tmp_path, key)
    assert source.classes == ("cat", "dog")
    assert source.splits["train"].labels.tolist() == [1, 0]


def test_of_several_labels_cls_counts_unless_the_key_names_another(tmp_path: Path) -> None:
    more = {"a.json": '{"label": "ant"}', "b.json": '{"label": "bee"}', "a.txt": "A", "b.txt": "B"}
    write_tar(tmp_path / "a.tar", labelled("cls", a="0", b="1") | more)
    assert load("webdataset", tmp_path).classes == ("ant", "bee")
    assert load("webdataset", tmp_path, "cls").classes == ("0", "1")
    assert load("webdataset", tmp_path, "txt").classes == ("A", "B")


def test_names_may_have_folders_and_endings_points_and_capitals(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "a.tar",
        {
            "./x/1.input.PNG": "x1",
            "./x/1.CLS": "cat",
            "./y/1.cls": "dog",
            "./y/1.input.PNG": "y1",
        },
    )
    source = load("webdataset", tmp_path)
    assert source.splits["train"].names == [f"{tmp_path}/a.tar: {key}" for key in ("x/1", "y/1")]
    assert source.splits["train"].labels.tolist() == [0, 1]
    assert read_all(source, "train") == [b"x1", b"y1"]


def test_the_key_of_the_labels_is_looked_for_in_all_samples(tmp_path: Path) -> None:
    members = labelled("json", b='{"label": "dog", "w": 32}', c='{"w": 64, "label": "cat"}')
    write_tar(tmp_path / "a.tar", labelled("json", a='{"w": 64}') | members)
    source = load("webdataset", tmp_path)
    assert source.classes == ("cat", "dog")
    assert read_all(source, "train") == [b"image b", b"image c"]
    assert left_out(source) == {"images without a label": [f"{tmp_path}/a.tar: a"]}


@pytest.mark.parametrize(("ending", "text"), [("cls", "{}"), ("json", '{{"label": "{}"}}')])
def test_a_mark_of_the_byte_order_is_no_part_of_a_label(
    ending: str, text: str, tmp_path: Path
) -> None:
    labels = {"a": text.format(0), "b": "\ufeff" + text.format(0), "c": text.format(1)}
    write_tar(tmp_path / "a.tar", labelled(ending, **labels))
    source = load("webdataset", tmp_path)
    assert source.classes == ("0", "1")
    assert source.splits["train"].labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("ending", ["jpg", "avif", "jp2", "jfif", "webp", "TIF"])
def test_images_are_of_any_format_that_is_read(ending: str, tmp_path: Path) -> None:
    write_tar(
        tmp_path / "a.tar", {f"a.{ending}": "a", "a.cls": "0", f"b.{ending}": "b", "b.cls": "1"}
    )
    assert read_all(load("webdataset", tmp_path), "train") == [b"a", b"b"]


def test_damage_that_ends_an_archive_early_is_named(tmp_path: Path) -> None:
    """Python takes what it cannot read for the end, and gives the members before it."""
    path = tmp_path / "a.tar"
    write_tar(path, labelled("cls", a="0", b="1", c="1"))
    whole = path.read_bytes()
    # Each of the six members has a header and a block of content.
    third, end = 2 * 1024, 6 * 1024
    for cut in (third, third + 100, end, end + 511):
        path.write_bytes(whole[:cut])
        rejects("webdataset", tmp_path, f"{path}: ends early, at byte {cut:,}; get it again")
    path.write_bytes(whole[:third] + b"\xab" * 512 + whole[third + 512 :])
    rejects("webdataset", tmp_path, f"{path}: damaged at byte {third:,}; get it again")
    path.write_bytes(whole + whole)
    rejects("webdataset", tmp_path, f"{path}: there is more after its end at byte {end:,}; ")
    path.write_bytes(whole[: end + 512])
    assert len(load("webdataset", tmp_path).splits["train"].names) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08", "gzip, not a tar archive; unpack it to one"),
        (b"PK\x03\x04", "zip, not a tar archive; unpack it to one"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; fetch"),
    ],
)
def test_what_else_is_called_tar_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    rejects("webdataset", tmp_path, f"{tmp_path}/a.tar: {message}")


def test_what_is_no_labelled_image_is_counted(tmp_path: Path) -> None:
    members = labelled("cls", a="0", b="1")
    members |= {"c.jpg": "image c", "d.cls": "1", "._a.jpg": "", "README": "", "e.jpg": "image e"}
    members |= {"__MACOSX/1.jpg": "", ".ipynb_checkpoints/1.jpg": ""}
    write_tar(tmp_path / "a.tar", members | {"e.cls": "-1"})
    write_tar(tmp_path / "b.tar", {})
    fill(tmp_path, "LICENSE", "index.bin")
    source = load("webdataset", tmp_path)
    assert read_all(source, "train") == [b"image a", b"image b"]
    assert left_out(source) == {
        "images without a label": [f"{tmp_path}/a.tar: c", f"{tmp_path}/a.tar: e"],
        "files without images": [f"{tmp_path}/b.tar"],
        "texts beside the images": [f"{tmp_path}/LICENSE"],
        "other files": [f"{tmp_path}/index.bin"],
        "files in archives without an image": [
            f"{tmp_path}/a.tar: {name}" for name in ("README", "d")
        ],
        "in archives, hidden or left by systems": [
            f"{tmp_path}/a.tar: {name}"
            for name in ("._a.jpg", "__MACOSX/1.jpg", ".ipynb_checkpoints/1.jpg")
        ],
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(
            {"cat/1.jpg": "", "dog/1.jpg": ""}, "no labels in it, such as a column", id="none"
        ),
        pytest.param(
            labelled("json", a='{"id": 1, "caption": "A cat"}'),
            "labels may be in the columns id, caption; let the dataset's `label` in params.yaml",
            id="several",
        ),
        pytest.param(labelled("cls", a="0") | {"a.png": ""}, "a: several images: jpg, png", id="2"),
        pytest.param(labelled("json", a="{"), "a.json: not JSON: ", id="no-json"),
        pytest.param(labelled("json", a="[]"), "a.json: list, not an object", id="no-object"),
        pytest.param(
            labelled("json", a='{"label": [1, 2]}'), "a.json: label is [1, 2], neither", id="list"
        ),
        pytest.param({"a.jpg": "", "a.cls": b"\xff"}, "a.cls: not UTF-8", id="no-utf-8"),
        pytest.param(
            labelled("cls", **{"a\udce9": "0"}),
            "a\\xe9.cls: a name that is not UTF-8; there are 2; rename them, this one to",
            id="name",
        ),
    ],
)
def test_archives_that_cannot_be_understood_are_rejected(
    members: Mapping[str, str | bytes], message: str, tmp_path: Path
) -> None:
    write_tar(tmp_path / "a.tar", members)
    rejects("webdataset", tmp_path, f"{tmp_path}/a.tar: {message}")


def test_json_may_be_absent(tmp_path: Path) -> None:
    members = labelled("json", a=json.dumps({"label": 3}), b=json.dumps({"label": 5}))
    write_tar(tmp_path / "a.tar", {"z.jpg": "", **members})
    source = load("webdataset", tmp_path)
    assert source.classes == ("3", "5")
    assert left_out(source) == {"images without a label": [f"{tmp_path}/a.tar: z"]}


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, labelled("cls", a="0", b="1"))
    source = load("webdataset", tmp_path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(UserError, match=r"a\.tar: ends early"):
        read_all(source, "train")
    path.write_bytes(b"no archive")
    rejects("webdataset", tmp_path, f"{path}: not a readable tar archive: ")
