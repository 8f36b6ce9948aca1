import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from disk import read_table
from PIL import Image

from atcore.base.errors import UserError
from atcore.images import shapes
from atcore.images.table import ImageTable
from tasks import prepare

PROJECT = Path(__file__).parents[2]
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()


def configure(
    dataset: str,
    images: tuple[Any, Any, Any],
    *,
    epochs: int = 12,
    batch_size: int = 64,
    **changes: Any,
) -> None:
    """The project's params.yaml with changes to one dataset; images of train, validation, test."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    own = params["dataset"][dataset]
    own |= {"images": dict(zip(SPLITS, images, strict=True)), **changes}
    own["training"] |= {"epochs": epochs, "batch_size": batch_size}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def written(dataset: str) -> tuple[dict[str, ImageTable], dict[str, Any]]:
    """The tables and dataset.json; they agree with each other, and nothing lies beside them."""
    folder = Path("data", dataset)
    tables = {split: read_table(folder / f"{split}.arrow") for split in SPLITS}
    info = json.loads((folder / "dataset.json").read_text())
    assert len(list(folder.iterdir())) == 4
    assert info["counts"] == {split: len(part) for split, part in tables.items()}
    ids = np.concatenate([part.ids for part in tables.values()])
    assert np.array_equal(ids, np.arange(len(ids)))
    resize = yaml.safe_load(Path("params.yaml").read_text())["dataset"][dataset]["resize"]
    for split, part in tables.items():
        assert list(part.classes) == info["classes"]
        side = (split == "train" and resize) or info["image_size"]
        assert part.images.shape[1:] == (side, side, 3)
    return tables, info


def contents(dataset: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("data", dataset).iterdir()}


def image_bytes(seed: int, kind: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def class_folders(classes: str, images: int) -> Path:
    folder = Path("raw/my_folder")
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(images):
            (folder / name / f"{number}.jpg").write_bytes(image_bytes(100 * label + number))
    return folder


@pytest.mark.usefixtures("ray_cluster")
def test_shapes_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    configure("shapes", (210, 9, 16))
    prepare.main("shapes")
    said = capsys.readouterr().out
    assert "shapes: train: 210 images drawn; 26 (triangle) to 27 (disc) of a class\n" in said
    assert "shapes: size: 32 x 32 px, from originals of 32 x 32 px\n" in said
    tables, info = written("shapes")
    assert info["counts"] == {"train": 210, "validation": 9, "test": 16}
    assert info["classes"] == list(shapes.CLASSES)
    assert tables["train"].origin == {"generator": "shapes", "seed": 0}
    for split, row in (("train", 0), ("train", 209), ("validation", 8), ("test", 3)):
        part = tables[split]
        image_id, label = int(part.ids[row]), int(part.labels[row])
        assert label == shapes.label_of(image_id)
        pixels = shapes.render(0, image_id, label, label).pixels
        assert np.array_equal(part.images[row], pixels)


@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        ((0.5, 8, 8), {}, r"dataset\.shapes\.images\.train: 0\.5 is not allowed; shapes are gen"),
        ((8, 8, None), {}, r"dataset\.shapes\.images\.test: null is not allowed; shapes are gen"),
        ((8, 8, 7), {}, r"dataset\.shapes\.images\.test: class 'cross' has no test image"),
        ((8, 8, 8), {"image_size": 64}, r"dataset\.shapes\.image_size: 64 is not allowed"),
    ],
)
def test_impossible_shapes_are_rejected(
    images: tuple[Any, Any, Any], changes: dict[str, Any], message: str
) -> None:
    configure("shapes", images, **changes)
    with pytest.raises(UserError, match=message):
        prepare.main("shapes")
    assert not Path("data").exists()


@pytest.mark.usefixtures("ray_cluster")
def test_cifar10_does_not_depend_on_how_the_work_is_cut(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("raw/cifar10").symlink_to(real_data / "cifar10")
    configure("cifar10", (200, 50, 30))
    prepare.main("cifar10")
    tables, info = written("cifar10")
    assert info["counts"] == {"train": 200, "validation": 50, "test": 30}
    assert info["unreadable"] == []
    assert tables["test"].origin == {"format": "parquet"}
    for part, count in zip(tables.values(), (20, 5, 3), strict=True):
        assert np.bincount(part.labels).tolist() == [count] * 10
    flat = np.concatenate([part.images.reshape(len(part), -1) for part in tables.values()])
    assert len(np.unique(flat, axis=0)) == 280

    before = contents("cifar10")
    monkeypatch.setattr(prepare, "_SHARD", 33)
    prepare.main("cifar10")
    assert contents("cifar10") == before
    monkeypatch.setattr(prepare, "_SHARD_BYTES", 5_000)
    prepare.main("cifar10")
    assert contents("cifar10") == before


@pytest.mark.usefixtures("ray_cluster")
def test_tiny_imagenet(real_data: Path) -> None:
    Path("raw/tiny_imagenet").symlink_to(real_data / "tiny-imagenet")
    configure("tiny_imagenet", (40, 20, 21))
    prepare.main("tiny_imagenet")
    tables, info = written("tiny_imagenet")
    assert info["counts"] == {"train": 40, "validation": 20, "test": 21}
    assert info["image_size"] == 64
    assert np.bincount(tables["train"].labels).tolist() == [2] * 20


@pytest.mark.usefixtures("ray_cluster")
def test_unreadable_images_are_left_out_only_where_allowed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = class_folders("ab", 10)
    damaged = [f"{folder}/a/3.jpg", f"{folder}/b/5.jpg"]
    truncated = image_bytes(3)[:-500]
    Path(damaged[0]).write_bytes(truncated)
    Path(damaged[1]).write_text("This is a text.")
    reasons = [
        f"{damaged[0]}: truncated, it ends after {len(truncated):,} bytes",
        f"{damaged[1]}: not an image",
    ]
    configure("my_folder", (None, 0.1, 0.2), image_size=32, allow_unreadable=2)
    prepare.main("my_folder")
    assert "left out, unreadable images: 2 (raw/my_folder/" in capsys.readouterr().out
    tables, info = written("my_folder")
    assert sum(info["counts"].values()) == 18
    assert sorted(info["unreadable"]) == damaged
    assert tables["train"].images.shape == (info["counts"]["train"], 32, 32, 3)

    before = contents("my_folder")
    configure("my_folder", (None, 0.1, 0.2), allow_unreadable=1)
    with pytest.raises(UserError) as caught:
        prepare.main("my_folder")
    named = Path("unreadable/my_folder.txt").read_text().splitlines()
    assert sorted(named) == reasons
    assert capsys.readouterr().out.splitlines()[-2:] == named
    assert str(caught.value) == (
        f"{named[0]}; unreadable images: 2, dataset.my_folder.allow_unreadable: 1; all of them are "
        "in unreadable/my_folder.txt: mend them, remove them, or allow so many"
    )
    assert contents("my_folder") == before
    assert len(list(Path("data").iterdir())) == 1


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(("split", "count"), [("train", 3), ("test", 1)])
def test_a_class_of_unreadable_images_is_rejected(
    split: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its 3 images to train or its only one to test; what else is unreadable is listed too."""
    folder = class_folders("ab", 3)
    folder.rename("raw/train")
    class_folders("ab", 1)
    folder.rename("raw/test")
    folder.mkdir()
    for name in ("train", "test"):
        Path("raw", name).rename(folder / name)
    damaged = [folder / "train/a/1.jpg", *sorted((folder / split / "b").iterdir())]
    for path in damaged:
        path.write_text("This is a text.")
    configure("my_folder", (None, 1, None), image_size=32, allow_unreadable=4)
    with pytest.raises(UserError) as caught:
        prepare.main("my_folder")
    assert str(caught.value) == (
        f"dataset.my_folder.images.{split}: class 'b' has no {split} image; unreadable images of "
        f"it: {count}, all that were taken; they are in unreadable/my_folder.txt: mend or remove "
        "them"
    )
    named = Path("unreadable/my_folder.txt").read_text().splitlines()
    assert sorted(named) == sorted(f"{path}: not an image" for path in damaged)
    assert capsys.readouterr().out.splitlines()[-len(named) :] == named
    assert not Path("data/my_folder").exists()


# What people have: photographs of Tiny ImageNet


@pytest.fixture(scope="module")
def photographs(real_data: Path) -> dict[str, list[bytes]]:
    """30 photographs of 64 x 64 px of each of three classes."""
    with zipfile.ZipFile(real_data / "tiny-imagenet/tiny-imagenet-200.zip") as archive:
        members = sorted(name for name in archive.namelist() if name.endswith("_12.JPEG"))
        folders = [name.rpartition("/")[0] for name in members if "/train/" in name][:3]
        return {
            name: [
                archive.read(f"{folder}/{folder.split('/')[-2]}_{number}.JPEG")
                for number in range(30)
            ]
            for name, folder in zip(("bus", "cat", "dog"), folders, strict=True)
        }


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def fill(folder: str, photographs: dict[str, list[bytes]], numbers: range) -> None:
    for name, images in photographs.items():
        Path(folder, name).mkdir(parents=True)
        for number in numbers:
            Path(folder, name, f"{number}.jpg").write_bytes(images[number])


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(("train", "test"), [("cats_train", "cats_test"), ("Training", "eval")])
def test_a_user_s_own_test_file_is_for_testing_alone(
    train: str,
    test: str,
    photographs: dict[str, list[bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("raw/my_parquet").mkdir()
    seen: dict[str, list[bytes]] = {}
    for stem, numbers in ((train, range(20)), (test, range(20, 30))):
        rows = [
            (label, photographs[name][n]) for label, name in enumerate(photographs) for n in numbers
        ]
        labels, encoded = map(list, zip(*rows, strict=True))
        images = pa.array([{"bytes": data, "path": None} for data in encoded])
        pq.write_table(
            pa.table({"image": images, "label": labels}), f"raw/my_parquet/{stem}.parquet"
        )
        seen[stem] = sorted(map(pixels, encoded))
    configure("my_parquet", (None, 0.1, 0.2), image_size=64)
    prepare.main("my_parquet")
    said = capsys.readouterr().out
    assert f"my_parquet: train: 54 images of 60 in {train}.parquet; 18 of each class\n" in said
    assert "my_parquet: validation: 6 images held out of train; 2 of each class\n" in said
    assert f"my_parquet: test: 30 images of 30 in {test}.parquet; 10 of each class\n" in said
    tables, info = written("my_parquet")
    assert info["counts"] == {"train": 54, "validation": 6, "test": 30}
    found = {split: [image.tobytes() for image in part.images] for split, part in tables.items()}
    assert sorted(found["test"]) == seen[test]
    assert sorted(found["train"] + found["validation"]) == seen[train]


@pytest.mark.usefixtures("ray_cluster")
def test_the_same_photographs_in_every_layout_are_the_same_dataset(
    photographs: dict[str, list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    """20 photographs of each class to train, 10 to test, and 3 that nobody has labelled."""
    rows = {
        split: [
            (f"{name}_{number:02}", name, images[number])
            for name, images in photographs.items()
            for number in numbers
        ]
        for split, numbers in (("train", range(20)), ("test", range(20, 30)))
    }
    rows["test"] += [(f"x_{number}", "", photographs["dog"][number]) for number in range(3)]
    for layout in ("my_folder", "listed", "packed", "parquet"):
        Path("raw", layout).mkdir()
    elsewhere = Path("elsewhere").absolute()
    for split, own in rows.items():
        for key, name, data in own:
            if name:
                place = elsewhere if name == "bus" else Path("raw/my_folder")
                (place / split / name).mkdir(parents=True, exist_ok=True)
                (place / split / name / f"{key}.jpg").write_bytes(data)
        Path("raw/my_folder", split, "bus").symlink_to(elsewhere / split / "bus")
        Path("raw/listed/images").mkdir(exist_ok=True)
        for key, _, data in own:
            Path(f"raw/listed/images/{key}.jpg").write_bytes(data)
        lines = [f"{key}.jpg,{name},{key}\n" for key, name, _ in own]
        Path(f"raw/listed/{split}.csv").write_text("".join(["file,kind,key\n", *lines]))
        with tarfile.open(f"raw/packed/{split}-000000.tar", "w") as tar:
            for key, name, data in own:
                for ending, content in (("jpg", data), ("txt", name.encode())):
                    member = tarfile.TarInfo(f"{key}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        names = [name or None for _, name, _ in own]
        table = pa.table({"image": [data for *_, data in own], "label": names})
        pq.write_table(table, f"raw/parquet/{split}-00000-of-00001.parquet")

    seen = {}
    for layout, form, label in (
        ("my_folder", "folder", None),
        ("listed", "csv", "kind"),
        ("packed", "webdataset", None),
        ("parquet", "parquet", None),
    ):
        configure("my_folder", (None, 0.1, 0.2), format=form, label=label, image_size=64)
        params = yaml.safe_load(Path("params.yaml").read_text())
        params["dataset"][layout] = params["dataset"]["my_folder"]
        Path("params.yaml").write_text(yaml.safe_dump(params))
        prepare.main(layout)
        said = capsys.readouterr().out
        assert f"{layout}: 3 classes: bus, cat, dog\n" in said
        assert f"{layout}: train: 54 images of 60 in " in said
        assert f"{layout}: test: 30 images of 30 in " in said
        assert ("left out, images without a label: 3 (" in said) == (layout != "my_folder")
        assert ("DVC does not see" in said) == (layout == "my_folder")
        tables, info = written(layout)
        assert info["skipped"] == ({} if layout == "my_folder" else {"images without a label": 3})
        seen[layout] = {
            split: [(part.labels[i], part.images[i].tobytes()) for i in range(len(part))]
            for split, part in tables.items()
        }
    assert seen["listed"] == seen["packed"] == seen["parquet"] == seen["my_folder"]


@pytest.mark.usefixtures("ray_cluster")
def test_what_was_understood_is_said_and_kept(
    photographs: dict[str, list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A user's own three splits, of which the default shares take everything, and what is wrong."""
    raw = Path("raw/my_folder")
    fill(f"{raw}/Train", photographs, range(20))
    fill(f"{raw}/valid", photographs, range(26, 30))
    fill(f"{raw}/Test", photographs, range(14, 24))
    # Of another format, but the same to a network as Train/cat/2.jpg.
    Image.open(io.BytesIO(photographs["cat"][2])).save(raw / "Test/cat/2.png")
    (raw / "Train/dog/cat7.jpg").write_bytes(photographs["cat"][7])
    (raw / "Train/dog/page.jpg").write_text("<html>")
    for name, size in (("small", (40, 30)), ("large", (200, 150))):
        photograph = Image.open(io.BytesIO(photographs["bus"][25]))
        photograph.resize(size).save(raw / f"Train/bus/{name}.png")
    fill(f"{raw}/.ipynb_checkpoints", photographs, range(1))
    (raw / "Train/.DS_Store").touch()
    (raw / "Test/cat/._14.jpg").touch()

    configure("my_folder", (None, 0.1, 0.2), image_size=48, allow_unreadable=1)
    prepare.main("my_folder")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("my_folder: ")]
    assert [line.removeprefix("my_folder: ") for line in said] == [
        "3 classes: bus, cat, dog",
        f"train: 63 images of 64 in {raw}/Train; 20 (cat) to 22 (bus) of a class",
        f"validation: 12 images of 12 in {raw}/valid; 4 of each class",
        f"test: 31 images of 31 in {raw}/Test; 10 (bus) to 11 (cat) of a class",
        "size: 48 x 48 px, from originals of "
        "40 x 30 (smallest), 64 x 64 (median), 200 x 150 (largest) px",
        "training: 12 steps, in 12 epochs of 63 images and batches of 64",
        f"left out, unreadable images: 1 ({raw}/Train/dog/page.jpg: a web page (HTML); download it "
        "again); "
        f"hidden, or left by systems: 3 ({raw}/.ipynb_checkpoints, {raw}/Test/cat/._14.jpg, "
        f"{raw}/Train/.DS_Store)",
        "warning: 12 training steps are too few to learn much: raise "
        "dataset.my_folder.training.epochs (300 would make 300 or more), or lower its batch_size",
        "warning: dataset.my_folder.training.batch_size 64 is more than the 63 training images",
        "warning: images enlarged to dataset.my_folder.image_size 48: 1 of 106",
        "warning: the same image in two splits: 19 of test in train "
        f"({raw}/Test/bus/14.jpg is {raw}/Train/bus/14.jpg)",
        "warning: the same image with different labels: 2 "
        f"({raw}/Train/dog/cat7.jpg is {raw}/Train/cat/7.jpg)",
    ]
    _, info = written("my_folder")
    assert info == {
        "classes": ["bus", "cat", "dog"],
        "image_size": 48,
        "counts": {"train": 63, "validation": 12, "test": 31},
        "smallest_class": {
            "train": {"name": "cat", "images": 20},
            "validation": {"name": "bus", "images": 4},
            "test": {"name": "bus", "images": 10},
        },
        "largest_class": {
            "train": {"name": "bus", "images": 22},
            "validation": {"name": "bus", "images": 4},
            "test": {"name": "cat", "images": 11},
        },
        "original_sizes": {"smallest": [40, 30], "median": [64, 64], "largest": [200, 150]},
        "enlarged": 1,
        "repeated": {
            "validation in train": {"images": 0, "example": None},
            "test in train": {
                "images": 19,
                "example": [f"{raw}/Test/bus/14.jpg", f"{raw}/Train/bus/14.jpg"],
            },
            "test in validation": {"images": 0, "example": None},
        },
        "contradictory": {
            "images": 2,
            "example": [f"{raw}/Train/dog/cat7.jpg", f"{raw}/Train/cat/7.jpg"],
        },
        "unreadable": [f"{raw}/Train/dog/page.jpg"],
        "skipped": {},
    }

    # What decides nothing about the images does not change a byte of what networks depend on.
    before = contents("my_folder")
    shutil.rmtree(raw / ".ipynb_checkpoints")
    configure("my_folder", (None, 0.1, 0.2), image_size=48, allow_unreadable=1, epochs=400)
    prepare.main("my_folder")
    said_again = capsys.readouterr().out
    assert "my_folder: training: 400 steps, in 400 epochs of 63 images" in said_again
    assert "too few to learn" not in said_again
    assert contents("my_folder") == before


def test_dvc_does_not_see_what_is_hidden() -> None:
    dvc = (sys.executable, "-m", "dvc")
    subprocess.run((*dvc, "init", "--no-scm", "--quiet"), check=True)
    shutil.copy(PROJECT / ".dvcignore", ".dvcignore")
    hidden = ["raw/x/.DS_Store", "raw/x/.ipynb_checkpoints/1.jpg", "raw/x/cat/._1.jpg"]
    asked = (*dvc, "check-ignore", *hidden, "raw/x/cat/1.jpg", "raw/x/train.parquet")
    found = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert found.stdout.split() == hidden


@pytest.mark.usefixtures("ray_cluster")
def test_the_caltech256_archive_is_read_as_it_is() -> None:
    """With what is no image in it, a grey image, and a fifth of each class held out."""
    classes = ("056.dog", "198.spider", "257.clutter")
    files = {"056.dog/greg/vision309/1.jpg": b"", "198.spider/RENAME2": b"mv 1.jpg 2.jpg"}
    for label, name in enumerate(classes):
        for number in range(1, 11):
            data = image_bytes(100 * label + number)
            files[f"{name}/{name[:3]}_{number:04d}.jpg"] = data
    grey = io.BytesIO()
    Image.fromarray(np.full((50, 40), 200, np.uint8)).save(grey, "JPEG")
    files["257.clutter/257_0011.jpg"] = grey.getvalue()
    Path("raw/caltech256").mkdir()
    with tarfile.open("raw/caltech256/256_ObjectCategories.tar", "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"256_ObjectCategories/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    configure("caltech256", (None, 0.1, 0.2))
    prepare.main("caltech256")
    tables, info = written("caltech256")
    assert tuple(info["classes"]) == classes
    assert info["image_size"] == 224
    assert np.bincount(tables["test"].labels).tolist() == [2, 2, 2]
    assert info["counts"] == {"train": 22, "validation": 3, "test": 6}
    assert tables["train"].images.shape[1:] == (256, 256, 3)
    images = [image for part in tables.values() for image in part.images]
    assert sum(bool((image == 200).all()) for image in images) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "error: dataset: 'nope' is unknown; allowed: shapes, "),
        (["caltech256"], "error: raw/caltech256: no such folder"),
    ],
)
def test_a_users_mistake_ends_in_one_line(arguments: list[str], message: str) -> None:
    shutil.copy(PROJECT / "params.yaml", "params.yaml")
    command = [sys.executable, "-m", "tasks", "prepare", *arguments]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_the_docs_say_of_every_dataset_what_to_put_into_its_folder() -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    text = (PROJECT / "docs/data.md").read_text()
    for dataset in params["dataset"]:
        assert f"`{dataset}`" in text or f"`raw/{dataset}/" in text
