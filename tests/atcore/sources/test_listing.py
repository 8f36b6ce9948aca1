from pathlib import Path

import numpy as np
import pytest
from raw_images import fill, left_out, read_all, rejects

from atcore.sources.formats import load


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("place", ["", "images/", "photographs/all/"])
@pytest.mark.parametrize(
    ("ending", "lines"),
    [
        pytest.param("csv", ["file,label", "1.jpg,dog", "2.jpg,cat", "3.jpg,dog"], id="comma"),
        pytest.param("csv", ["label;file", "dog;1.jpg", "cat;2.jpg", "dog;3.jpg"], id="semicolon"),
        pytest.param("tsv", ["file\tclass", "1.jpg\tdog", "2.jpg\tcat", "3.jpg\tdog"], id="tab"),
        pytest.param("csv", ["file,label", "1.JPG,dog", "2.JPG,cat", "3.JPG,dog"], id="capitals"),
        pytest.param("csv", ["1.jpg,dog", "2.jpg,cat", "3.jpg,dog"], id="without-header"),
        pytest.param("csv", ["id,breed", "1,dog", "2,cat", "3,dog"], id="without-ending"),
        pytest.param(
            "CSV", ['"file","label"', '"1.jpg","dog"', '2.jpg,"cat"', "3.jpg, dog"], id="q"
        ),
        pytest.param(
            "csv", ["\ufefffile,label", "1.jpg,dog", "", "2.jpg,cat", "3.jpg,dog", ","], id="excel"
        ),
        pytest.param(
            "csv",
            ["n,width,file,label,", "7,64,1.jpg,dog,", "8,64,2.jpg,cat,", "9,64,3.jpg,dog,"],
            id="more-columns",
        ),
    ],
)
def test_a_list_of_files_and_labels(
    ending: str, lines: list[str], place: str, tmp_path: Path
) -> None:
    names = [f"{place}{number}.jpg" for number in (1, 2, 3)]
    fill(tmp_path, *names)
    write(tmp_path / f"labels.{ending}", *lines)
    source = load("csv", tmp_path)
    assert source.classes == ("cat", "dog")
    (entries,) = source.splits.values()
    assert entries.labels.tolist() == [1, 0, 1]
    assert entries.names == [f"{tmp_path}/{name}" for name in names]
    assert read_all(source, "train") == [name.encode() for name in names]
    assert list(source.read("train", np.array([2]))) == [names[2].encode()]
    assert left_out(source) == {}


def test_windows_writes_folders_in_its_own_way(tmp_path: Path) -> None:
    fill(tmp_path, "cats/1.jpg", "dogs/1.jpg")
    write(tmp_path / "labels.csv", "file,label", "cats\\1.jpg,cat", ".\\dogs\\1.jpg,dog")
    source = load("csv", tmp_path)
    assert source.splits["train"].names == [f"{tmp_path}/cats/1.jpg", f"{tmp_path}/dogs/1.jpg"]


@pytest.mark.parametrize("start", ["/home/x/data/images/", "C:\\Users\\x\\images\\", "D:/images/"])
def test_absolute_names_of_another_machine(start: str, tmp_path: Path) -> None:
    fill(tmp_path, "images/1.jpg", "images/2.jpg")
    write(tmp_path / "labels.csv", "file,label", f"{start}1.jpg,dog", f"{start}2.jpg,cat")
    source = load("csv", tmp_path)
    assert source.splits["train"].labels.tolist() == [1, 0]
    assert source.splits["train"].names == [f"{tmp_path}/images/{n}.jpg" for n in (1, 2)]
    assert left_out(source) == {}


@pytest.mark.parametrize("start", ["{folder}/images/", "../{name}/images/", "images/../images/"])
def test_images_are_not_left_out_whichever_way_to_them_is_written(
    start: str, tmp_path: Path
) -> None:
    fill(tmp_path, "images/1.jpg", "images/2.jpg")
    place = start.format(folder=tmp_path, name=tmp_path.name)
    write(tmp_path / "labels.csv", f"{place}1.jpg,dog", f"{place}2.jpg,cat")
    source = load("csv", tmp_path)
    assert source.splits["train"].names == [f"{tmp_path}/images/{n}.jpg" for n in (1, 2)]
    assert left_out(source) == {}


def test_accents_may_be_written_in_other_ways_than_in_names_of_files(tmp_path: Path) -> None:
    fill(tmp_path, "u\u0308ber/1.jpg", "cafe\u0301.jpg")
    write(tmp_path / "labels.csv", "file,label", "\u00fcber/1.jpg,a", "caf\u00e9.jpg,b")
    names = load("csv", tmp_path).splits["train"].names
    assert names == [f"{tmp_path}/u\u0308ber/1.jpg", f"{tmp_path}/cafe\u0301.jpg"]


def test_the_line_in_which_excel_names_the_delimiter_is_no_row(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg", "2.jpg")
    write(tmp_path / "labels.csv", "sep=;", "file;label", "1.jpg;dog", "2.jpg;cat")
    assert load("csv", tmp_path).classes == ("cat", "dog")
    write(tmp_path / "labels.csv", "sep=;", "file;label", "1.jpg;dog", "3.jpg;cat")
    rejects("csv", tmp_path, f"{tmp_path}/labels.csv: line 4: no image file '3.jpg'")


def test_numbers_of_files_are_no_labels(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number}.jpg" for number in range(4)))
    write(tmp_path / "labels.csv", "class,id", "1,0", "0,1", "1,2", "-1,3")
    source = load("csv", tmp_path)
    assert source.classes == ("0", "1")
    assert read_all(source, "train") == [b"0.jpg", b"1.jpg", b"2.jpg"]
    assert source.splits["train"].labels.tolist() == [1, 0, 1]
    assert left_out(source) == {"images without a label": [f"{tmp_path}/3.jpg"]}


def test_lists_are_split_by_their_names_and_know_their_folders(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg")
    write(tmp_path / "train.csv", "id,label", "1,cat", "2,dog")
    write(tmp_path / "test.csv", "id,label", "2,dog", "1,cat")
    source = load("csv", tmp_path)
    assert read_all(source, "train") == [b"train/1.jpg", b"train/2.jpg"]
    assert read_all(source, "test") == [b"test/2.jpg", b"test/1.jpg"]
    assert source.splits["test"].labels.tolist() == [1, 0]


def test_a_column_may_say_the_split(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number}.jpg" for number in range(5)))
    rows = ["0,cat,train", "1,cat,test", "2,dog,Train", "3,dog,valid", "4,dog,test"]
    write(tmp_path / "labels.csv", "file,label,Split", *rows)
    source = load("csv", tmp_path)
    assert list(source.splits) == ["train", "validation", "test"]
    assert [read_all(source, split) for split in source.splits] == [
        [b"0.jpg", b"2.jpg"],
        [b"3.jpg"],
        [b"1.jpg", b"4.jpg"],
    ]
    assert source.splits["test"].labels.tolist() == [0, 1]
    write(tmp_path / "labels.csv", "file,label,split", "0,cat,train", "1,dog,fold1")
    rejects("csv", tmp_path, f"{tmp_path}/labels.csv: line 3: split 'fold1' is no word for a split")


def test_files_that_no_row_names_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg", "2.jpg", "3.jpg", "notes.txt", "._1.jpg")
    write(tmp_path / "labels.csv", "file,label", "1.jpg,cat", "2.jpg,dog")
    assert left_out(load("csv", tmp_path)) == {
        "texts beside the images": [f"{tmp_path}/notes.txt"],
        "other files": [f"{tmp_path}/3.jpg"],
    }


def test_the_key_label_names_one_of_several_columns(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg", "2.jpg")
    write(tmp_path / "a.csv", "file,kind,colour", "1.jpg,cat,red", "2.jpg,dog,grey")
    rejects("csv", tmp_path, f"{tmp_path}/a.csv: labels may be in the columns kind, colour; let")
    assert load("csv", tmp_path, "colour").classes == ("grey", "red")
    write(tmp_path / "a.csv", "1.jpg,cat,red", "2.jpg,dog,grey")
    rejects("csv", tmp_path, f"{tmp_path}/a.csv: labels may be in the columns 2, 3; let")
    assert load("csv", tmp_path, "2").classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(
            ["file,label", "1.jpg,cat", "5.jpg,dog", "6.jpg,dog"],
            "line 3: no image file '5.jpg' in {folder} or below; missing: 2 of 3; ",
            id="missing",
        ),
        pytest.param(
            ["file,label", "8.jpg,cat"],
            "no column with names of image files in {folder} or below; its first line: file, label",
            id="no-files",
        ),
        pytest.param(
            ["file,label", "1.jpg,cat", "3.jpg,dog"],
            "line 3: '3.jpg' may be {folder}/a/3.jpg, {folder}/b/3.jpg; write its folder too",
            id="twice",
        ),
        pytest.param(
            ["label,file,label", "cat,1.jpg,dog", "dog,2.jpg,cat"],
            "2 columns have the name 'label'; rename or remove all but one",
            id="label-twice",
        ),
        pytest.param(
            ["file", "1.jpg"], "no labels in it, such as a column label; col", id="no-labels"
        ),
        pytest.param(
            ["file,kind,kind", "1.jpg,cat,a", "2.jpg,dog,b"],
            "2 columns have the name 'kind'; rename or remove all but one",
            id="two-of-a-name",
        ),
        pytest.param(
            ["file,label", "1.jpg,cat", "2.jpg,dog,small"],
            "line 3: 3 cells, where the first line has 2",
            id="ragged",
        ),
    ],
)
def test_lists_that_cannot_be_understood_are_rejected(
    lines: list[str], message: str, tmp_path: Path
) -> None:
    fill(tmp_path, "1.jpg", "2.jpg", "a/3.jpg", "b/3.jpg")
    write(tmp_path / "labels.csv", *lines)
    rejects("csv", tmp_path, f"{tmp_path}/labels.csv: {message.format(folder=tmp_path)}")


def test_a_list_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg")
    (tmp_path / "a.csv").write_bytes("1.jpg,café\n".encode("latin-1"))
    rejects("csv", tmp_path, f"{tmp_path}/a.csv: not UTF-8; save it as such")


def test_an_empty_list_has_no_images(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg")
    write(tmp_path / "a.csv")
    rejects("csv", tmp_path, f"{tmp_path}: no images in a.csv")
