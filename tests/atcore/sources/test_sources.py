import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from raw_images import fill, read_all, rejects
from torchvision.datasets import CIFAR10

from atcore.base.errors import UserError
from atcore.images.decode import decode
from atcore.sources.entries import links, no_data
from atcore.sources.formats import FORMATS, load
from atcore.sources.tiny_imagenet import ARCHIVE


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_folder_without_data_is_rejected(format_name: str, tmp_path: Path) -> None:
    rejects(format_name, tmp_path / "absent", f"{tmp_path}/absent: no such folder")
    (tmp_path / "README.md").touch()
    (tmp_path / ".gitignore").touch()
    rejects(format_name, tmp_path, f"{tmp_path}: no data in it")


# Folders of files


def test_class_folders_are_training_images(tmp_path: Path) -> None:
    fill(tmp_path, "README.md", "dog/2.jpg", "dog/10.jpg", "cat/b.png", "cat/a.png")
    source = load("folder", tmp_path)
    assert source.classes == ("cat", "dog")
    assert list(source.splits) == ["train"]
    entries = source.splits["train"]
    assert entries.labels.tolist() == [0, 0, 1, 1]
    assert entries.names == [
        f"{tmp_path}/{n}" for n in ("cat/a.png", "cat/b.png", "dog/10.jpg", "dog/2.jpg")
    ]
    assert list(source.read("train", np.array([1, 2]))) == [b"cat/b.png", b"dog/10.jpg"]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "validation", "test"),
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("TRAINING", "dev", "EVAL"),
        ("training_set", "Validation Set", "test_set"),
        ("seg_train", "seg_val", "seg_test"),
    ],
)
@pytest.mark.parametrize("around", ["", "photographs/"])
def test_split_folders(around: str, train: str, validation: str, test: str, tmp_path: Path) -> None:
    train, validation, test = around + train, around + validation, around + test
    fill(tmp_path, f"{train}/cat/1", f"{train}/dog/1", f"{validation}/dog/2")
    fill(tmp_path, f"{test}/cat/3", f"{test}/dog/3")
    source = load("folder", tmp_path)
    assert source.classes == ("cat", "dog")
    assert source.splits["test"].place == f"{tmp_path}/{test}"
    assert {name: part.labels.tolist() for name, part in source.splits.items()} == {
        "train": [0, 1],
        "validation": [1],
        "test": [0, 1],
    }
    assert read_all(source, "validation") == [f"{validation}/dog/2".encode()]


def test_words_for_a_split_within_the_names_of_classes_are_no_splits(tmp_path: Path) -> None:
    fill(tmp_path, "bullet_train/1.jpg", "steam_train/1.jpg", "contest/1.jpg")
    source = load("folder", tmp_path)
    assert source.classes == ("bullet_train", "contest", "steam_train")
    assert list(source.splits) == ["train"]


def test_what_is_hidden_or_left_by_systems_is_no_data_at_any_depth(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "my_folder"
    fill(folder, "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", ".gitignore")
    fill(folder, ".DS_Store", ".ipynb_checkpoints/1-checkpoint.jpg", "train/.Trash/cat/1.jpg")
    fill(folder, "train/cat/._1.jpg", "train/dog/.ipynb_checkpoints/1-checkpoint.jpg")
    fill(folder, "__MACOSX/train/cat/._1.jpg", "Thumbs.db", "test/cat/Desktop.ini")
    fill(tmp_path, "elsewhere/1.jpg", "elsewhere/.DS_Store")
    (folder / "test/dog").symlink_to(tmp_path / "elsewhere")
    source = load("folder", folder)
    assert source.classes == ("cat", "dog")
    assert [len(part.names) for part in source.splits.values()] == [2, 2]
    assert no_data(folder) == [
        f"{folder}/{name}"
        for name in (
            ".DS_Store",
            ".ipynb_checkpoints",
            "Thumbs.db",
            "__MACOSX",
            "test/cat/Desktop.ini",
            "test/dog/.DS_Store",
            "train/.Trash",
            "train/cat/._1.jpg",
            "train/dog/.ipynb_checkpoints",
        )
    ]


def test_a_class_may_be_a_symbolic_link(tmp_path: Path) -> None:
    folder = tmp_path / "my_folder"
    fill(folder, "cat/1.jpg", "cat/2.jpg")
    fill(tmp_path, "elsewhere/1.jpg", "elsewhere/2.jpg")
    (folder / "dog").symlink_to(tmp_path / "elsewhere")
    (folder / "cat/3.jpg").symlink_to(tmp_path / "elsewhere/1.jpg")
    source = load("folder", folder)
    assert source.classes == ("cat", "dog")
    assert source.splits["train"].labels.tolist() == [0, 0, 0, 1, 1]
    assert read_all(source, "train")[2:4] == [b"elsewhere/1.jpg"] * 2
    assert links(folder) == [f"{folder}/dog"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([b"caf\xe9/1.jpg", b"tea/1.jpg"], "/caf\\xe9: a name that is not UTF-8; there are 1; "),
        (
            [b"cat/1.jpg", b"dog/\xfc.jpg", b"dog/\xe4.jpg"],
            "/dog/\\xe4.jpg: a name that is not UTF-8; there are 2; rename them, this one to "
            "'ä.jpg' perhaps",
        ),
    ],
)
def test_names_that_are_no_utf_8_are_rejected(
    names: list[bytes], message: str, tmp_path: Path
) -> None:
    fill(tmp_path, *map(os.fsdecode, names))
    rejects("folder", tmp_path, f"{tmp_path}{message}")


@pytest.mark.parametrize("around", ["", "photographs/"])
def test_texts_beside_splits_classes_and_images_are_counted_and_no_images(
    around: str, tmp_path: Path
) -> None:
    images = ("train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg")
    fill(tmp_path / around, *images)
    texts = ["LICENSE", "labels.txt", "test/dog/notes.MD", "train/README", "train/classes.csv"]
    texts = [around + text for text in texts]
    fill(tmp_path, *texts)
    source = load("folder", tmp_path)
    assert source.classes == ("cat", "dog")
    assert [len(part.names) for part in source.splits.values()] == [2, 2]
    assert source.skipped == {"texts beside the images": [f"{tmp_path}/{text}" for text in texts]}
    (tmp_path / around / "test/dog/1.jpg").unlink()
    rejects("folder", tmp_path, f"{tmp_path / around}/test/dog: no images in it")


def test_one_folder_around_everything_is_allowed(tmp_path: Path) -> None:
    fill(tmp_path, "256_ObjectCategories/001.ak47/1.jpg", "256_ObjectCategories/257.clutter/1.jpg")
    assert load("folder", tmp_path).classes == ("001.ak47", "257.clutter")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param(["cat/1", "dog/1", "stray.jpg"], "/stray.jpg: not a folder", id="stray-file"),
        pytest.param(
            ["train.parquet", "test.parquet"],
            "/test.parquet: not a folder with the images of one class; for such files set the "
            "dataset's `format` to parquet",
            id="parquet",
        ),
        pytest.param(
            ["train/0000.parquet", "test/0000.parquet"],
            "/test: no class folders in it, so that the classes of its images are unknown; "
            "expected test/<class>/*; for such files set the dataset's `format` to parquet",
            id="parquet-splits",
        ),
        pytest.param(
            ["1.jpg", "2.jpg", "labels.csv"],
            "/1.jpg: not a folder with the images of one class; for such files set the dataset's "
            "`format` to csv",
            id="list",
        ),
        pytest.param(["cat/1", "dog/1", "dog/more/1"], "/dog/more: not a file", id="nested"),
        pytest.param(
            ["archive/cat/1", "archive/dog/1", "archive.zip"],
            "/archive.zip: not a folder with the images of one class; unpack archive.zip",
            id="archive",
        ),
        pytest.param(
            ["cafe\u0301/1", "caf\u00e9/1", "tea/1"],
            "/caf\u00e9: the name of {folder}/cafe\u0301, with its accents written in another way",
            id="accents",
        ),
        pytest.param(["cat/1", "cat/2"], ": classes: cat; at least 2", id="single-class"),
        pytest.param(["train/cat/1", "dog/1"], "/dog: not expected beside", id="mixed"),
        pytest.param(
            ["train/cat/1", "val/cat/1", "validation/cat/1"], "/validation: there is", id="twice"
        ),
        pytest.param(["val/cat/1", "test/cat/1"], ": no folder train", id="no-train"),
        pytest.param(
            ["train/cat/1", "train/dog/1", "test/cow/1"], "/test/cow: class without", id="new-class"
        ),
        pytest.param(
            ["train/cat/1", "train/dog/1", "test"], "/test: no such folder", id="split-file"
        ),
        pytest.param(
            ["Train/1.jpg", "Train/2.jpg", "Test/3.jpg"], "/Test: no class folders in it", id="flat"
        ),
        pytest.param(
            ["my_train/1.jpg", "my_test/2.jpg"], "/my_test: no class folders in it", id="flat-words"
        ),
        pytest.param(
            ["train/cat/1", "train/dog/1", "test/1.jpg"],
            "/test: no class folders in it, so that the classes of its images are unknown; "
            "expected test/<class>/*",
            id="flat-test",
        ),
        pytest.param(
            ["train/cat/1", "Eval/cat/1", "test/cat/1"], "/test: there is another", id="two-tests"
        ),
        pytest.param(
            ["seg_train/cat/1", "seg_test/cat/1", "seg_pred/1"], "/seg_pred: not exp", id="third"
        ),
        pytest.param(
            ["train/cat/1", "train_test/cat/1"], "/train_test: not expected", id="two-words"
        ),
    ],
)
def test_folders_of_another_layout_are_rejected(
    files: list[str], message: str, tmp_path: Path
) -> None:
    fill(tmp_path, *files)
    rejects("folder", tmp_path, f"{tmp_path}{message.format(folder=tmp_path)}")


def test_the_accents_of_a_class_may_be_written_in_other_ways_in_other_splits(
    tmp_path: Path,
) -> None:
    fill(tmp_path, "train/tea/1", "train/cafe\u0301/1", "test/caf\u00e9/1", "test/tea/1")
    source = load("folder", tmp_path)
    assert source.classes == ("caf\u00e9", "tea")
    assert source.splits["test"].labels.tolist() == [0, 1]


@pytest.mark.parametrize("around", ["a/b/c", "train/train", "a/b/train"])
def test_folders_around_folders_are_allowed(around: str, tmp_path: Path) -> None:
    fill(tmp_path, f"{around}/cat/1", f"{around}/dog/1", f"{around}/dog/2")
    source = load("folder", tmp_path)
    assert source.classes == ("cat", "dog")
    assert source.splits["train"].labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("format_name", ["folder", "parquet", "csv", "webdataset"])
def test_a_link_to_a_folder_around_it_is_named(format_name: str, tmp_path: Path) -> None:
    fill(tmp_path, "cat/1", "dog/1")
    for name in ("cat", "dog"):
        (tmp_path / name / "up").symlink_to("..")
    message = f"{tmp_path}/cat/up: a link to a folder that it lies in; remove it"
    rejects(format_name, tmp_path, message)


@pytest.mark.parametrize("format_name", ["folder", "parquet", "csv", "webdataset"])
def test_what_is_no_file_is_named(format_name: str, tmp_path: Path) -> None:
    fill(tmp_path, "cat/1", "dog/1")
    (tmp_path / "cat/2").symlink_to("nowhere")
    rejects(format_name, tmp_path, f"{tmp_path}/cat/2: a link to nothing; take it out")
    (tmp_path / "cat/2").unlink()
    os.mkfifo(tmp_path / "cat/2")
    rejects(format_name, tmp_path, f"{tmp_path}/cat/2: not a file; take it out")


_AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from atcore.base.errors import UserError
from atcore.sources.formats import load
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    load(sys.argv[1], Path(sys.argv[2]))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("format_name", ["folder", "parquet", "csv", "webdataset"])
def test_a_folder_that_may_not_be_read_is_named(format_name: str) -> None:
    # Not pytest's folder, in which another user sees nothing.
    with TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        fill(folder, "train/cat/1", "train/dog/1", "test/cat/1")
        (folder / "test").chmod(0)
        command = [sys.executable, "-c", _AS_ANOTHER_USER, format_name, place]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        (folder / "test").chmod(0o755)
    assert ended.stdout == f"{place}/test: Permission denied\n"


def test_a_hidden_name_that_is_no_utf_8_is_left_out_as_others_are(tmp_path: Path) -> None:
    fill(tmp_path, "cat/1", "dog/1", os.fsdecode(b"cat/.caf\xe9"))
    assert load("folder", tmp_path).classes == ("cat", "dog")
    assert no_data(tmp_path) == [f"{tmp_path}/cat/.caf\\xe9"]


def test_a_class_without_images_is_rejected(tmp_path: Path) -> None:
    fill(tmp_path, "cat/1", "dog/1")
    (tmp_path / "emu").mkdir()
    rejects("folder", tmp_path, f"{tmp_path}/emu: empty folder")


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "cat/1", "dog/1")
    source = load("folder", tmp_path)
    (tmp_path / "dog/1").unlink()
    with pytest.raises(UserError, match="dog/1: No such file"):
        read_all(source, "train")


# Tiny ImageNet

WNIDS = ("n01", "n02", "n03")


def tiny(without: str = "", **changed: str) -> dict[str, str]:
    root = "tiny-imagenet-200"
    members = {
        f"{root}/wnids.txt": "n03\nn01\nn02\n",
        f"{root}/words.txt": "n01\tcrane\nn02\tcrane, lifting device\nn99\tother\n",
        f"{root}/val/val_annotations.txt": "val_0.JPEG\tn02\t0\t0\nval_1.JPEG\tn01\t0\t0\n",
        f"{root}/val/images/val_0.JPEG": "v0",
        f"{root}/val/images/val_1.JPEG": "v1",
        f"{root}/test/images/test_0.JPEG": "t0",
    }
    for wnid in WNIDS:
        members[f"{root}/train/{wnid}/{wnid}_boxes.txt"] = ""
        members[f"{root}/train/{wnid}/images/{wnid}_0.JPEG"] = wnid
    members |= {f"{root}/{name.replace('__', '/')}": text for name, text in changed.items()}
    return {name: text for name, text in members.items() if not without or without not in name}


def write_zip(folder: Path, members: dict[str, str]) -> Path:
    path = folder / ARCHIVE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_tiny_imagenet_is_read_from_its_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path, tiny())
    source = load("tiny_imagenet", tmp_path)
    assert source.classes == ("crane (n01)", "crane (n02)", "n03")
    assert list(source.splits) == ["train", "test"]
    assert source.splits["train"].labels.tolist() == [0, 1, 2]
    assert source.splits["test"].labels.tolist() == [1, 0]
    assert source.splits["test"].names[0] == f"{path}: tiny-imagenet-200/val/images/val_0.JPEG"
    assert read_all(source, "train") == [b"n01", b"n02", b"n03"]
    assert list(source.read("test", np.array([1]))) == [b"v1"]
    assert source.skipped == {
        "images without labels": ["tiny-imagenet-200/test/images/test_0.JPEG"]
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(tiny("wnids"), "no tiny-imagenet-200/wnids.txt", id="no-wnids"),
        pytest.param(tiny("words"), "no tiny-imagenet-200/words.txt", id="no-words"),
        pytest.param(tiny("annot"), "no tiny-imagenet-200/val/val_annotations.txt", id="no-labels"),
        pytest.param(
            tiny("val_1.JPEG"), "tiny-imagenet-200/val/images/val_1.JPEG: no image", id="no-image"
        ),
        pytest.param(
            tiny(**{"val__images__val_2.JPEG": ""}),
            "tiny-imagenet-200/val/images/val_2.JPEG: no label",
            id="no-label",
        ),
        pytest.param(
            tiny(**{"val__val_annotations.txt": "val_0.JPEG\tn07\n"}),
            "tiny-imagenet-200/val/val_annotations.txt line 1: class 'n07'",
            id="unknown-label",
        ),
        pytest.param(
            tiny(**{"train__n07__images__n07_0.JPEG": ""}),
            "tiny-imagenet-200/train/n07/images/n07_0.JPEG: its class",
            id="unknown-class",
        ),
    ],
)
def test_archives_of_another_layout_are_rejected(
    members: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = write_zip(tmp_path, members)
    rejects("tiny_imagenet", tmp_path, f"{path}: {message}")


def test_tiny_imagenet_class_without_training_image_is_rejected(tmp_path: Path) -> None:
    write_zip(tmp_path, tiny("train/n03/images"))
    rejects("tiny_imagenet", tmp_path, f"{tmp_path}: class 'n03' has no training image")


def test_damaged_zip_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path, tiny())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    rejects("tiny_imagenet", tmp_path, f"{path}: not a readable zip archive: ")
    path.write_bytes(whole)
    source = load("tiny_imagenet", tmp_path)
    with zipfile.ZipFile(path) as archive:
        last = archive.getinfo(source.splits["train"].names[-1].split(": ")[1])
    data_start = last.header_offset + 30 + len(last.filename)
    path.write_bytes(whole[:data_start] + b"\xff\xff" + whole[data_start + 2 :])
    with pytest.raises(UserError, match=f"{ARCHIVE}: not a readable zip archive"):
        read_all(source, "train")


def test_tiny_imagenet_needs_its_archive_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tiny-imagenet-200").mkdir()
    rejects("tiny_imagenet", tmp_path, f"{tmp_path}/tiny-imagenet-200: not expected here")


def test_real_tiny_imagenet(real_data: Path) -> None:
    source = load("tiny_imagenet", real_data / "tiny-imagenet")
    assert len(set(source.classes)) == 20
    assert "German shepherd" in source.classes
    assert np.bincount(source.splits["train"].labels).tolist() == [500] * 20
    assert np.bincount(source.splits["test"].labels).tolist() == [50] * 20
    (data,) = source.read("train", np.array([123]))
    assert Image.open(io.BytesIO(data)).size == (64, 64)


# The original CIFAR-10 archive


def pack(archive: Path, root: Path, *members: str) -> None:
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as tar:
        for member in members:
            tar.add(root / member, member)


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """A small unpacked archive of the original's form, checked by its own sums; its images."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)

    def written(name: str, content: dict[str, Any]) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    batch = {"data": pixels.reshape(2, -1), "labels": [1, 0]}
    monkeypatch.setattr(CIFAR10, "train_list", [written("data_batch_1", batch)])
    monkeypatch.setattr(CIFAR10, "test_list", [written("test_batch", batch)])
    meta = written("batches.meta", {"label_names": ["airplane", "automobile"]})
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"filename": meta[0], "md5": meta[1]})
    return pixels.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("packed", [True, False])
def test_original_cifar10_archive(packed: bool, cifar10: NDArray[np.uint8], tmp_path: Path) -> None:
    place = tmp_path / CIFAR10.base_folder
    if packed:
        place = tmp_path / CIFAR10.filename
        pack(place, tmp_path, CIFAR10.base_folder)
        shutil.rmtree(tmp_path / CIFAR10.base_folder)
    source = load("cifar10", tmp_path)
    assert source.classes == ("airplane", "automobile")
    assert source.splits["train"].labels.tolist() == [1, 0]
    assert source.splits["test"].names[1] == f"{place}: test image 1"
    for data, wanted in zip(read_all(source, "test"), cifar10, strict=True):
        assert np.array_equal(decode(data, 32, "x"), wanted)


@pytest.mark.usefixtures("cifar10")
def test_another_cifar10_archive_is_rejected(tmp_path: Path) -> None:
    place = tmp_path / CIFAR10.base_folder
    (place / "test_batch").write_bytes(b"other")
    rejects("cifar10", tmp_path, f"{place}: test_batch has md5 795f3202b17cb6bc3d4b771d8c6c9eaf, ")
    (place / "test_batch").unlink()
    rejects("cifar10", tmp_path, f"{place}: no test_batch in it; not the original")
    (tmp_path / "train.parquet").touch()
    rejects("cifar10", tmp_path, f"{tmp_path}/train.parquet: not expected here")


# Caltech-256


@pytest.fixture
def caltech256(tmp_path: Path) -> Path:
    """The unpacked archive in miniature, with what is no image in it."""
    root = "256_ObjectCategories"
    images = ("001.ak47/001_0001.jpg", "056.dog/056_0002.jpg", "056.dog/056_0001.jpg")
    others = ("056.dog/greg/vision309/1.jpg", "198.spider/RENAME2", "056.dog/._056_0001.jpg")
    more = ("198.spider/198_0001.jpg", "257.clutter/257_0001.jpg")
    fill(tmp_path, *(f"{root}/{name}" for name in (*images, *others, *more)))
    return tmp_path / root


@pytest.mark.parametrize("packed", [True, False])
def test_original_caltech256_archive(packed: bool, caltech256: Path, tmp_path: Path) -> None:
    place = tmp_path
    if packed:
        place = tmp_path / "256_ObjectCategories.tar"
        pack(place, tmp_path, caltech256.name)
        shutil.rmtree(caltech256)
    source = load("caltech256", tmp_path)
    assert source.classes == ("001.ak47", "056.dog", "198.spider", "257.clutter")
    entries = source.splits["train"]
    names = [name.removeprefix(f"{place}: ") for name in entries.names]
    assert [name.rpartition("/")[2] for name in names] == [
        *("001_0001.jpg", "056_0001.jpg", "056_0002.jpg", "198_0001.jpg", "257_0001.jpg")
    ]
    assert entries.labels.tolist() == [0, 1, 1, 2, 3]
    assert read_all(source, "train") == [name.encode() for name in names]
    ((what, skipped),) = source.skipped.items()
    assert what == "no images <class>/*.jpg"
    assert [name.removeprefix("256_ObjectCategories/") for name in skipped] == (
        ["056.dog/._056_0001.jpg", "056.dog/greg/vision309/1.jpg", "198.spider/RENAME2"]
        if packed
        else ["056.dog/greg", "198.spider/RENAME2"]
    )


def test_damaged_caltech256_is_named(caltech256: Path, tmp_path: Path) -> None:
    archive = tmp_path / "256_ObjectCategories.tar"
    pack(archive, tmp_path, caltech256.name)
    shutil.rmtree(caltech256)
    source = load("caltech256", tmp_path)
    archive.write_bytes(archive.read_bytes()[:600])
    with pytest.raises(UserError, match=r"256_ObjectCategories\.tar: ends early"):
        read_all(source, "train")
    archive.write_bytes(b"no archive")
    rejects("caltech256", tmp_path, f"{archive}: not a readable tar archive: ")
    (tmp_path / "notes.txt").touch()
    rejects("caltech256", tmp_path, f"{tmp_path}/notes.txt: not expected here; allowed: 256_Obj")


@pytest.mark.parametrize(
    ("format_name", "archive"),
    [
        ("cifar10", CIFAR10.filename),
        ("tiny_imagenet", ARCHIVE),
        ("caltech256", "256_ObjectCategories.tar"),
    ],
)
def test_a_web_page_in_place_of_an_archive_is_recognised(
    format_name: str, archive: str, tmp_path: Path
) -> None:
    (tmp_path / archive).write_text("\n<!DOCTYPE html><title>404 Not Found</title>")
    rejects(format_name, tmp_path, f"{tmp_path}/{archive}: a web page (HTML); download it")
