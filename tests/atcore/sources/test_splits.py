import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.sources.splits import Amount, Chosen, choose

Labels = NDArray[np.int32]
CLASSES = ("a", "b", "c")
KEY = "dataset.x.images"
GOLDEN = {
    "train": [1, 17, 25, 26, 47, 51],
    "validation": [9, 22, 53],
    "test": [12, 23, 49],
}


def labels(*counts: int) -> Labels:
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def split(
    own: dict[str, Labels], train: Amount, validation: Amount, test: Amount, seed: int = 0
) -> dict[str, Chosen]:
    amounts = {"train": train, "validation": validation, "test": test}
    return choose(own, CLASSES, amounts, seed, KEY)


def counts(own: dict[str, Labels], chosen: Chosen) -> list[int]:
    found = np.bincount(own[chosen.source][chosen.indices], minlength=len(CLASSES))
    return [int(count) for count in found]


def test_null_takes_all_of_the_sources_own_splits() -> None:
    own = {"train": labels(3, 4, 5), "validation": labels(1, 0, 2), "test": labels(2, 1, 1)}
    for name, chosen in split(own, None, None, None).items():
        assert chosen.source == name
        assert np.array_equal(chosen.indices, np.arange(len(own[name])))


def test_missing_splits_are_held_out_of_train() -> None:
    own = {"train": labels(10, 20, 30)}
    chosen = split(own, None, 0.1, 0.2)
    assert {part.source for part in chosen.values()} == {"train"}
    assert counts(own, chosen["test"]) == [2, 4, 6]
    assert counts(own, chosen["validation"]) == [1, 2, 3]
    assert counts(own, chosen["train"]) == [7, 14, 21]
    together = np.concatenate([part.indices for part in chosen.values()])
    assert np.array_equal(np.sort(together), np.arange(60))


def test_a_share_takes_all_of_what_the_source_itself_holds_out() -> None:
    own = {"train": labels(20, 20, 20), "validation": labels(4, 4, 4), "test": labels(4, 6, 8)}
    chosen = split(own, None, 0.1, 0.2)
    assert [part.source for part in chosen.values()] == ["test", "validation", "train"]
    assert counts(own, chosen["train"]) == [20, 20, 20]
    assert counts(own, chosen["validation"]) == [4, 4, 4]
    assert counts(own, chosen["test"]) == [4, 6, 8]


def test_a_number_limits_what_the_source_itself_holds_out() -> None:
    own = {"train": labels(10, 10, 10), "test": labels(4, 6, 8)}
    chosen = split(own, 0.5, 3, 9)
    assert chosen["test"].source == "test"
    assert counts(own, chosen["test"]) == [3, 3, 3]
    assert counts(own, chosen["train"]) == [5, 5, 5]


def test_a_share_takes_at_least_one_of_each_class() -> None:
    own = {"train": labels(3, 30, 30)}
    chosen = split(own, None, 0.1, 0.1)
    assert [counts(own, chosen[name])[0] for name in ("train", "validation", "test")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("amount", "wanted"), [(9, [3, 3, 3]), (11, [3, 4, 4]), (60, [3, 20, 37]), (5, [1, 2, 2])]
)
def test_a_number_is_balanced_as_far_as_classes_reach(amount: int, wanted: list[int]) -> None:
    own = {"train": labels(3, 20, 100), "validation": labels(1, 1, 1), "test": labels(1, 1, 1)}
    assert sorted(counts(own, split(own, amount, None, None)["train"])) == wanted


def test_a_smaller_number_is_a_subset() -> None:
    own = {"train": labels(20, 20, 20), "validation": labels(1, 1, 1), "test": labels(1, 1, 1)}
    small, large = (split(own, n, None, None)["train"].indices for n in (12, 31))
    assert set(small) < set(large)


def test_the_choice_is_random_fixed_and_depends_on_the_seed() -> None:
    own = {"train": labels(20, 20, 20)}
    chosen = split(own, 6, 3, 3)
    assert {name: part.indices.tolist() for name, part in chosen.items()} == GOLDEN
    assert split(own, 6, 3, 3, seed=1)["test"].indices.tolist() != GOLDEN["test"]


@given(
    sizes=st.tuples(*[st.integers(8, 40)] * 3),
    amounts=st.tuples(*[st.integers(3, 8) | st.floats(0.05, 0.3)] * 3),
    own_test=st.booleans(),
    seed=st.integers(0, 9),
)
def test_splits_are_disjoint_ascending_and_hold_every_class(
    sizes: tuple[int, int, int], amounts: tuple[Amount, Amount, Amount], own_test: bool, seed: int
) -> None:
    own = {"train": labels(*sizes)} | ({"test": labels(5, 6, 7)} if own_test else {})
    chosen = split(own, *amounts, seed=seed)
    for name, amount in zip(("train", "validation", "test"), amounts, strict=True):
        part = chosen[name]
        assert part.source == (name if name in own else "train")
        assert (np.diff(part.indices) > 0).all()
        assert min(counts(own, part)) >= 1
        if isinstance(amount, int):
            assert len(part.indices) == amount
        elif name == "test" and own_test:
            assert len(part.indices) == 18
    seen = [(part.source, index) for part in chosen.values() for index in part.indices.tolist()]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("own", "amounts", "message"),
    [
        pytest.param(
            {"train": labels(4, 4, 4)},
            (None, 3, 13),
            "dataset.x.images.test: 13 is not allowed; there are 12 images",
            id="test-too-large",
        ),
        pytest.param(
            {"train": labels(4, 4, 4)},
            (7, 3, 3),
            "dataset.x.images.train: 7 is not allowed; there are 6 images",
            id="train-larger-than-what-is-left",
        ),
        pytest.param(
            {"train": labels(100, 100, 100)},
            (0.9, 0.1, 0.2),
            "dataset.x.images.train: 0.9 is not allowed; of the 100 images of class 'a' 70 are "
            "left$",
            id="train-share-larger-than-what-is-left",
        ),
        pytest.param(
            {"train": labels(100, 40, 100)},
            (0.6, 0.1, 60),
            "dataset.x.images.train: 0.6 is not allowed; of the 40 images of class 'b' 16 are left",
            id="train-share-larger-than-what-a-number-leaves",
        ),
        pytest.param(
            {"train": labels(4, 4, 4)},
            (None, None, 3),
            "dataset.x.images.validation: null is not allowed, as the source has no validation",
            id="no-validation",
        ),
        pytest.param(
            {"train": labels(4, 4, 4)},
            (None, 3, None),
            "dataset.x.images.test: null is not allowed, as the source has no test",
            id="no-test",
        ),
        pytest.param(
            {"train": labels(4, 1, 4), "validation": labels(1, 1, 1)},
            (None, None, 0.2),
            "dataset.x.images.train: class 'b' has no train image; images of it: 1, held out for "
            "test: 1: add more$",
            id="one-image",
        ),
        pytest.param(
            {"train": labels(4, 4, 2)},
            (None, 0.1, 0.2),
            "dataset.x.images.train: class 'c' has no train image; images of it: 2, held out for "
            "test: 1, held out for validation: 1: add more$",
            id="two-images",
        ),
        pytest.param(
            {"train": labels(4, 4, 4)},
            (None, 0.5, 0.5),
            "dataset.x.images.train: class 'a' has no train image; images of it: 4, held out for "
            "test: 2, held out for validation: 2: add more, or lower dataset.x.images.test or "
            "dataset.x.images.validation$",
            id="shares-of-everything",
        ),
        pytest.param(
            {"train": labels(3, 3, 3)},
            (None, 6, 3),
            "dataset.x.images.train: class 'a' has no train image; images of it: 3, held out for "
            "test: 1, held out for validation: 2: add more, or lower dataset.x.images.validation$",
            id="numbers-of-everything",
        ),
        pytest.param(
            {"train": labels(4, 4, 4), "test": labels(1, 0, 1)},
            (None, 3, None),
            "dataset.x.images.test: class 'b' has no test image; every class needs one: add some$",
            id="class-not-tested",
        ),
        pytest.param(
            {"train": labels(4, 4, 4), "test": labels(1, 1, 1)},
            (2, 3, None),
            "dataset.x.images.train: class '[abc]' has no train image; so few images do not reach "
            "every class: give a larger number$",
            id="fewer-images-than-classes",
        ),
    ],
)
def test_impossible_amounts_name_the_key(
    own: dict[str, Labels], amounts: tuple[Amount, Amount, Amount], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        split(own, *amounts)


@pytest.mark.parametrize(
    ("own", "amounts"),
    [
        pytest.param(labels(4, 4, 3), (None, 0.1, 0.2), id="more-than-two-images"),
        pytest.param(labels(4, 4, 4), (None, 0.5, 0.25), id="smaller-share-to-test"),
        pytest.param(labels(4, 4, 4), (None, 0.25, 0.5), id="smaller-share-to-validate"),
        pytest.param(labels(3, 3, 3), (None, 3, 3), id="smaller-number"),
    ],
)
def test_what_is_advised_where_nothing_is_left_to_train_helps(
    own: Labels, amounts: tuple[Amount, Amount, Amount]
) -> None:
    assert counts({"train": own}, split({"train": own}, *amounts)["train"])[2] == 1


def test_shares_of_everything_are_had_but_for_an_image_that_each_rounds() -> None:
    own = {"train": labels(100, 15, 3)}
    chosen = split(own, 0.9, 0.05, 0.05)
    assert counts(own, chosen["test"]) == [5, 1, 1]
    assert counts(own, chosen["validation"]) == [5, 1, 1]
    assert counts(own, chosen["train"]) == [90, 13, 1]


def test_validation_may_lack_a_class() -> None:
    own = {"train": labels(4, 4, 4), "validation": labels(2, 0, 1), "test": labels(1, 1, 1)}
    assert counts(own, split(own, None, None, None)["validation"]) == [2, 0, 1]
