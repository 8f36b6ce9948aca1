from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atcore.base.errors import UserError
from atcore.sources.naming import by_split, require_all_shards, split_words

FOLDER = Path("raw/x")
# As in the library `datasets`, src/datasets/data_files.py, SPLIT_KEYWORDS.
HUB = {
    "train": ["train", "training"],
    "validation": ["validation", "valid", "dev", "val"],
    "test": ["test", "testing", "eval", "evaluation"],
}
WORDS = [(split, word) for split, words in HUB.items() for word in words]


def files(*stems: str) -> list[Path]:
    return [FOLDER / f"{stem}.parquet" for stem in stems]


def splits(*stems: str) -> dict[str, list[str]]:
    return {
        split: [path.stem for path in paths] for split, paths in by_split(files(*stems)).items()
    }


def test_folders_within_the_one_around_all_files_say_the_split_too() -> None:
    paths = [FOLDER / "test_run" / name for name in ("train/0.tar", "train/1.tar", "eval/0.tar")]
    assert by_split(paths) == {"train": paths[:2], "test": paths[2:]}
    data = [FOLDER / "data" / name for name in ("train-0.parquet", "dev-0.parquet")]
    assert by_split(data) == {"train": data[:1], "validation": data[1:]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cats_test", {"test"}),
        ("Test", {"test"}),
        ("TRAINING", {"training"}),
        ("validation-00000-of-00002-0f3a", {"validation"}),
        ("catsVal", {"val"}),
        ("MyTrainImages", {"train"}),
        ("trainset", {"train"}),
        ("Dev Set", {"dev"}),
        ("testData2", {"test"}),
        ("train2017", {"train"}),
        ("asl.eval.v2", {"eval"}),
        ("train_test", {"train", "test"}),
        ("contest", set()),
        ("latest", set()),
        ("strain_7", set()),
        ("retrieval", set()),
        ("device", set()),
        ("testé", set()),
        ("dataset", set()),
        ("set", set()),
    ],
)
def test_words_for_splits_are_whole_words_in_any_case(name: str, words: set[str]) -> None:
    assert split_words(name) == words


@given(
    st.sampled_from(WORDS),
    st.sampled_from([str.lower, str.upper, str.capitalize]),
    st.sampled_from(["", "cats_", "7", "été ", "x.", "(1)"]),
    st.sampled_from(["", "-00000-of-00001", " 2", "_v2", "Set", "(copy)"]),
)
def test_a_file_is_the_split_that_the_hub_takes_it_for(
    word: tuple[str, str], case: Callable[[str], str], before: str, after: str
) -> None:
    split, text = word
    stem = f"{before}{case(text)}{after}"
    assert splits(stem) == {split: [stem]}


def test_without_any_word_all_files_are_for_training() -> None:
    assert splits("cats", "dogs") == {"train": ["cats", "dogs"]}
    assert splits("latest") == {"train": ["latest"]}


def test_each_split_has_its_files_in_order() -> None:
    assert splits("Test", "birds_train", "cats_train", "dev") == {
        "train": ["birds_train", "cats_train"],
        "validation": ["dev"],
        "test": ["Test"],
    }


UNDERSTOOD = (
    "understood: train, training; validation, valid, val, dev; test, testing, eval, evaluation"
)


@pytest.mark.parametrize(
    ("stems", "message"),
    [
        pytest.param(
            ["cats", "cats_test"], "cats.parquet: words for a split in its name: none;", id="some"
        ),
        pytest.param(
            ["train_test"],
            "train_test.parquet: words for a split in its name: test, train;",
            id="2",
        ),
        pytest.param(
            ["catstest", "catstrain"],
            "catstest.parquet: words for a split in its name: none;",
            id="joined",
        ),
        pytest.param(
            ["testbatch", "trainbatch"],
            "testbatch.parquet: words for a split in its name: none;",
            id="joined-in-front",
        ),
        pytest.param(
            ["eval", "test", "train"],
            "test.parquet: another word for the same split as in eval.parquet;",
            id="eval-and-test",
        ),
        pytest.param(
            ["train", "val", "validation"],
            "validation.parquet: another word for the same split as in val.parquet;",
            id="val-and-validation",
        ),
    ],
)
def test_names_that_leave_a_doubt_are_refused(stems: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        by_split(files(*stems))
    assert str(caught.value).startswith(f"{FOLDER}/{message}")
    assert str(caught.value).endswith(UNDERSTOOD)


@given(st.integers(1, 8), st.sampled_from([0, 1]), st.sampled_from(["train-", "x"]), st.data())
def test_a_series_is_taken_whole_or_the_missing_files_are_named(
    total: int, first: int, name: str, data: st.DataObject
) -> None:
    numbers = list(range(first, first + total))
    stems = {number: f"{name}{number:05}-of-{total:05}" for number in numbers}
    # Without its last file, a series that counts from 1 looks like one that counts from 0.
    there = data.draw(
        st.sets(st.sampled_from(numbers), min_size=1).filter(lambda n: n & {0, total})
    )
    missing = [stems[number] for number in numbers if number not in there]
    if not missing:
        require_all_shards(files("other", *stems.values()))
        return
    with pytest.raises(UserError) as caught:
        require_all_shards(files("other", *(stems[number] for number in sorted(there))))
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    assert str(caught.value) == (
        f"{FOLDER}: of the {total} files {name}N-of-{total:05} {len(missing)} missing: "
        f"{', '.join(missing[:3])}{more}"
    )


@pytest.mark.parametrize(
    "stems",
    [
        ["train-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"],
        ["train-00000-of-00001-0f3a", "train-00000-of-00001-9b41"],
        ["train-0-of-2", "train-1-of-2", "train-2-of-2"],
    ],
)
def test_shards_of_two_versions_are_refused(stems: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        require_all_shards(files(*stems))
    assert str(caught.value).startswith(f"{FOLDER}: the files train-N-of-M are not all of one vers")
    assert stems[-1] in str(caught.value)
