"""What is remembered of earlier durations."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.history import History


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path


def test_stages_that_end_at_the_same_time_are_all_remembered(root: Path) -> None:
    names = [f"train@shapes-{i}" for i in range(200)]
    history = History(root)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: history.record(name, 1.5), names))
    assert History(root).expected(names) == dict.fromkeys(names, 1.5)


def test_what_cannot_be_written_is_remembered_for_this_run_and_fails_nothing(root: Path) -> None:
    (root / ".dvc" / "tmp" / "durations.writing").symlink_to("/dev/full")
    history = History(root)
    history.record("report", 1.5)
    assert history.expected(["report"]) == {"report": 1.5}
    assert list((root / ".dvc" / "tmp").iterdir()) == []


def test_a_stage_that_never_ran_is_expected_to_take_the_mean_of_its_kind(root: Path) -> None:
    history = History(root)
    history.record("train@a", 2.0)
    history.record("train@b", 4.0)
    history.record("report", 1.0)
    expected = history.expected(["train@a", "train@c", "report", "variants@a"])
    assert expected == {"train@a": 2.0, "train@c": 3.0, "report": 1.0}


def test_another_seed_of_a_network_tells_more_than_other_networks(root: Path) -> None:
    history = History(root)
    history.record("train@shapes-standard-0", 2.0)
    history.record("train@shapes-pgd-0", 10.0)
    history.record("train@shapes-pgd-1", 12.0)
    history.record("train@cifar10-pgd-0", 96.0)
    expected = history.expected(["train@shapes-pgd-2", "train@shapes-fgsm-0", "train@my-fgsm-0"])
    assert expected == {
        "train@shapes-pgd-2": 11.0,
        "train@shapes-fgsm-0": 8.0,
        "train@my-fgsm-0": 30.0,
    }


@pytest.mark.parametrize("content", ["", "{", "\x00"])
def test_a_broken_file_is_only_a_lost_estimate(root: Path, content: str) -> None:
    (root / ".dvc" / "tmp" / "durations.json").write_text(content)
    assert History(root).expected(["report"]) == {}
