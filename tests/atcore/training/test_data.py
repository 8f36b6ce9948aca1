"""Splits: the same batches, and so the same network, from memory and from disk."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from atcore_samples import model_spec, shapes_table, split_of, training_spec
from torch import Tensor

from atcore.attacks.pgd import PGD
from atcore.attacks.threats import Linf
from atcore.base.errors import UserError
from atcore.images.stored import StoredTable, write
from atcore.training.data import Batch, LoadedSplit, Split, StoredSplit, ahead, loaded, splits
from atcore.training.loop import Progress, train

TABLE = shapes_table(140)
TABLES = (TABLE.rows(slice(0, 100)), TABLE.rows(slice(100, 140)))
LOADED = [split_of(table) for table in TABLES]
ATTACK = PGD(threat=Linf(4 / 255), step_size=2 / 255, steps=1)
SPEC = training_spec(attack=ATTACK, validation_attack=ATTACK, augment="crop_flip")
CPU = torch.device("cpu")


class ReadAhead(StoredSplit):
    """As a split on disk is read for a GPU."""

    def batches(self, rows: Sequence[Tensor]) -> Iterator[Batch]:
        return ahead(self._read, rows)


@pytest.fixture
def stored(tmp_path: Path) -> list[StoredTable]:
    for name, table in zip("ab", TABLES, strict=True):
        write(table, tmp_path / f"{name}.arrow")
    return [StoredTable(tmp_path / f"{name}.arrow") for name in "ab"]


def trained(pair: Sequence[Split]) -> list[Progress]:
    return list(train(SPEC, model_spec(LOADED[0]), *pair))


def test_from_disk_and_from_memory_the_checkpoints_have_equal_bytes(
    stored: list[StoredTable],
) -> None:
    from_memory, from_disk = trained(LOADED), trained(splits(stored, CPU, 1))
    assert [p.checkpoint for p in from_disk] == [p.checkpoint for p in from_memory]
    assert from_disk[-1].history == from_memory[-1].history


def test_a_table_is_loaded_as_it_is(stored: list[StoredTable]) -> None:
    split = loaded(stored[0], CPU)
    assert torch.equal(split.images, LOADED[0].images)
    assert torch.equal(split.labels, LOADED[0].labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_images_are_on_a_gpu_where_they_fit_into_the_share_of_its_memory(
    stored: list[StoredTable],
) -> None:
    gpu, rows = torch.device("cuda"), [torch.tensor([3, 1]), torch.tensor([2])]
    for share, kind in ((1.0, LoadedSplit), (0.0, StoredSplit)):
        training, _ = splits(stored, gpu, share)
        assert isinstance(training, kind)
        for asked, batch in zip(rows, training.batches(rows), strict=True):
            assert batch.images.device.type == batch.labels.device.type == "cuda"
            assert torch.equal(batch.images.cpu(), LOADED[0].images[asked])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_batches_come_in_the_order_in_which_they_are_asked_for(
    stored: list[StoredTable], count: int
) -> None:
    rows = torch.randperm(100, generator=torch.Generator().manual_seed(0)).split(100 // count + 1)
    for asked, batch in zip(rows, StoredSplit(stored[0]).batches(rows), strict=True):
        assert torch.equal(batch.images, LOADED[0].images[asked])
        assert torch.equal(batch.labels, LOADED[0].labels[asked])
        assert batch.labels.dtype == torch.int64


def test_who_asks_for_no_batches_gets_none(stored: list[StoredTable]) -> None:
    for split in (LOADED[0], StoredSplit(stored[0])):
        assert list(split.batches([])) == []


def test_what_cannot_be_read_ends_the_training(stored: list[StoredTable]) -> None:
    with stored[0].path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(UserError, match="became shorter"):
        trained(splits(stored, CPU, 0))


@pytest.mark.parametrize("count", range(6))
def test_what_is_read_ahead_comes_in_the_order_in_which_it_is_asked_for(count: int) -> None:
    assert list(ahead(str, range(count))) == [*map(str, range(count))]


def test_a_few_are_read_while_the_first_is_used() -> None:
    read = [threading.Event() for _ in range(10)]
    batches = ahead(threading.Event.set, read)
    next(batches)
    assert read[2].wait(60)
    batches.close()
    assert not read[3].is_set()


def test_what_cannot_be_read_ahead_is_told_in_its_turn() -> None:
    batches = ahead(float, ["1", "one", "2"])
    assert next(batches) == 1
    with pytest.raises(ValueError, match="'one'"):
        next(batches)


def test_who_stops_in_the_middle_leaves_no_thread_behind() -> None:
    before = threading.enumerate()
    batches = ahead(str, range(10))
    next(batches)
    assert threading.enumerate() != before
    batches.close()
    assert threading.enumerate() == before


def test_a_training_that_stops_in_the_middle_of_an_epoch_leaves_no_thread_behind(
    stored: list[StoredTable],
) -> None:
    before = threading.enumerate()
    spec = replace(SPEC, stop_at_accuracy=0.0)
    *_, last = train(spec, model_spec(LOADED[0]), *map(ReadAhead, stored))
    assert last.finished == "accuracy"
    assert threading.enumerate() == before
