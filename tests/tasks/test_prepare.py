import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from atcore.base.errors import UserError
from atcore.images import shapes, table
from tasks import prepare

PROJECT = Path(__file__).parents[2]
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()


def configure(dataset: str, images: tuple[Any, Any, Any], **changes: Any) -> None:
    """The project's params.yaml with changes to one dataset, given as train, validation, test."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["dataset"][dataset] |= {"images": dict(zip(SPLITS, images, strict=True)), **changes}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def written(dataset: str) -> tuple[dict[str, table.ImageTable], dict[str, Any]]:
    """The tables and dataset.json; they agree with each other, and nothing lies beside them."""
    folder = Path("data", dataset)
    tables = {split: table.read(folder / f"{split}.parquet") for split in SPLITS}
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
def test_shapes_are_drawn() -> None:
    configure("shapes", (210, 9, 16))
    prepare.main("shapes")
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
    monkeypatch.setattr(prepare, "_WAVE_BYTES", 2 * 33 * 32 * 32 * 3)
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
    Path(damaged[0]).write_bytes(image_bytes(3)[:-500])
    Path(damaged[1]).write_text("This is a text.")
    configure("my_folder", (None, 0.1, 0.2), allow_unreadable=2)
    prepare.main("my_folder")
    assert "left out 2 unreadable images" in capsys.readouterr().out
    tables, info = written("my_folder")
    assert sum(info["counts"].values()) == 18
    assert sorted(info["unreadable"]) == damaged
    assert tables["train"].images.shape == (info["counts"]["train"], 32, 32, 3)

    before = contents("my_folder")
    configure("my_folder", (None, 0.1, 0.2), allow_unreadable=1)
    with pytest.raises(UserError) as caught:
        prepare.main("my_folder")
    assert str(caught.value).startswith(tuple(f"{name}: " for name in damaged))
    assert str(caught.value).endswith(
        "; unreadable images: 2, dataset.my_folder.allow_unreadable: 1"
    )
    assert contents("my_folder") == before
    assert len(list(Path("data").iterdir())) == 1


@pytest.mark.usefixtures("ray_cluster")
def test_a_class_of_unreadable_images_is_rejected() -> None:
    folder = class_folders("ab", 4)
    for path in (folder / "b").iterdir():
        path.write_text("This is a text.")
    configure("my_folder", (None, 1, 2), allow_unreadable=4)
    with pytest.raises(UserError, match=r"dataset\.my_folder\.images\.train: class 'b' has no"):
        prepare.main("my_folder")
    assert not Path("data/my_folder").exists()


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
    command = [sys.executable, "-m", "tasks.prepare", *arguments]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_every_dataset_has_a_folder_that_says_what_to_put_there() -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for dataset in params["dataset"]:
        assert (PROJECT / "raw" / dataset / "README.md").is_file()
