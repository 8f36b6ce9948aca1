"""Several workers that train one network: the same steps as one worker, the same bits on each."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from atcore_samples import model_spec, repeated, shapes_table, split_of, training_spec
from torch import Tensor

from atcore.attacks.pgd import PGD
from atcore.attacks.threats import Linf
from atcore.networks.models import weights_to_bytes
from atcore.training.data import Batch
from atcore.training.loop import train, trained_weights
from atcore.training.losses import Trades
from atcore.training.run import Training, TrainingDivergedError
from atcore.training.spec import TrainingSpec
from atcore.training.workers import Workers

TABLE = shapes_table(77)
TRAIN, VALIDATION = split_of(TABLE.rows(slice(0, 50))), split_of(TABLE.rows(slice(50, 77)))
ATTACK = PGD(threat=Linf(4 / 255), step_size=2 / 255, steps=2)
# 50 images in batches of 7: unequal parts, and a last batch of one image.
SPEC = training_spec(
    epochs=2,
    batch_size=7,
    attack=ATTACK,
    eps_warmup=0.3,
    validation_attack=ATTACK,
    augment="crop_flip",
)


TRADES: dict[str, Any] = {"loss": Trades(beta=6), "attack": replace(ATTACK, start_deviation=0.001)}


FREE: dict[str, Any] = {
    "attack": replace(ATTACK, step_size=ATTACK.threat.eps, steps=1, random_start=False),
    "replays": 2,
}


# --- shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("items", [1, 2, 3, 7, 64])
def test_every_item_counts_once_and_no_worker_is_without_one(items: int, count: int) -> None:
    shares = [Workers(rank, count).share(items) for rank in range(count)]
    parts = [list(range(items))[part] for part, _ in shares]
    counted = [part[:number] for part, (_, number) in zip(parts, shares, strict=True)]
    assert [item for part in counted for item in part] == list(range(items))
    assert all(parts)
    sizes = [len(part) for part in counted]
    assert max(sizes) - min(sizes) <= 1


# --- processes ------------------------------------------------------------------------------------


def _member(rank: int, count: int, folder: Path, work: Callable[[int], Any]) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    torch.save(work(rank), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    """Two for all tests: they import torch once."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


def together(processes: Executor, folder: Path, work: Callable[[int], Any]) -> list[Any]:
    """What `work(rank)` returns in each of two processes that can talk to each other."""
    members = [processes.submit(_member, rank, 2, folder, work) for rank in range(2)]
    for member in members:
        member.result()
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def one_step(spec: TrainingSpec, images: int, rank: int) -> tuple[dict[str, Tensor], float, int]:
    """Weights, summed loss and right answers after the steps on one batch of the first images.

    Batch normalisation, whose statistics are those of one worker's part, is left in eval mode.
    """
    run = Training(spec, model_spec(TRAIN), images, torch.device("cpu"), rank)
    run.model.eval()
    step = run.steps - 1  # past the warm-up of eps
    for part in run.parts(Batch(TRAIN.images[:images], TRAIN.labels[:images]), step):
        loss, right = run.update(part, rate=0.1)
    run.workers.sum(loss)
    run.workers.sum(right)
    return run.model.state_dict(), loss.item(), int(right)


@pytest.mark.long
@pytest.mark.parametrize(
    ("images", "changes"),
    [
        pytest.param(7, {}, id="unequal"),
        pytest.param(1, {}, id="one image"),
        pytest.param(7, TRADES, id="trades"),
        pytest.param(7, FREE, id="free"),
    ],
)
def test_a_step_of_two_workers_is_the_step_of_one(
    processes: Executor, tmp_path: Path, images: int, changes: dict[str, Any]
) -> None:
    spec = replace(SPEC, **changes)
    weights, loss, right = one_step(spec, images, 0)
    spec = replace(spec, workers=2)
    for their_weights, their_loss, their_right in together(
        processes, tmp_path, partial(one_step, spec, images)
    ):
        assert their_loss == pytest.approx(loss, rel=1e-5)
        assert their_right == right
        for name, tensor in weights.items():
            torch.testing.assert_close(their_weights[name], tensor, rtol=1e-5, atol=1e-6)


def trained(recorded: bool, rank: int) -> dict[str, Tensor]:
    """Weights after an epoch of whole batches and a smaller one, with steps recorded or not."""
    spec = replace(SPEC, workers=2)
    record = repeated if recorded else None
    run = Training(spec, model_spec(TRAIN), len(TRAIN), torch.device("cpu"), rank, record)
    for number in (1, 2):
        run.epoch(number, TRAIN, VALIDATION)
    return run.model.state_dict()


@pytest.mark.long
def test_recorded_steps_of_workers_are_those_as_they_are_written(
    processes: Executor, tmp_path: Path
) -> None:
    (tmp_path / "recorded").mkdir()
    recorded = together(processes, tmp_path / "recorded", partial(trained, True))
    for weights in recorded + together(processes, tmp_path, partial(trained, False)):
        for name, tensor in weights.items():
            torch.testing.assert_close(tensor, recorded[0][name], rtol=0, atol=0)


def precision_with(instructions: list[dict[str, bool]], rank: int) -> str:
    """The precision that `auto` is on a worker, each with a processor of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: instructions[rank])
        spec = replace(SPEC, workers=2, precision="auto")
        return Training(spec, model_spec(TRAIN), 50, torch.device("cpu"), rank).precision


@pytest.mark.long
@pytest.mark.parametrize(
    ("instructions", "precision"),
    [
        ([{"avx512_bf16": True}, {"amx_bf16": True}], "bf16"),
        ([{"avx512_bf16": True}, {"avx512_bf16": False}], "fp32"),
        ([{"avx2": True}, {"avx512_bf16": True}], "fp32"),
    ],
    ids=["on both", "on the first", "on the second"],
)
def test_workers_train_in_bf16_only_where_all_of_them_compute_it(
    processes: Executor, tmp_path: Path, instructions: list[dict[str, bool]], precision: str
) -> None:
    found = together(processes, tmp_path, partial(precision_with, instructions))
    assert found == [precision] * 2


def whole_and_resumed(changes: dict[str, Any], rank: int) -> tuple[Any, ...]:
    """Histories and weights of an uninterrupted run and of one resumed after its first epoch."""
    spec = replace(SPEC, workers=2, **changes)
    data = (model_spec(TRAIN), TRAIN, VALIDATION)
    first, last = train(spec, *data, rank=rank)
    (resumed,) = train(spec, *data, rank=rank, checkpoint=first.checkpoint)
    stopped = [*train(replace(spec, stop_at_accuracy=0.0), *data, rank=rank)]
    with pytest.raises(TrainingDivergedError) as diverged:
        list(train(replace(spec, learning_rate=1e30), *data, rank=rank))
    ends = [
        (
            progress.history,
            weights_to_bytes(trained_weights(progress.checkpoint, model_spec(TRAIN))),
        )
        for progress in (last, resumed, stopped[-1])
    ]
    return (*ends, stopped[-1].finished, str(diverged.value))


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [{}, {**TRADES, "ema": 0.9, "keep": "best_robust"}, FREE],
    ids=["pgd", "trades", "free"],
)
def test_workers_agree_on_weights_history_and_end_also_after_an_interruption(
    processes: Executor, tmp_path: Path, changes: dict[str, Any]
) -> None:
    first, second = together(processes, tmp_path, partial(whole_and_resumed, changes))
    assert first == second
    whole, resumed, _, finished, error = first
    assert whole == resumed
    assert finished == "accuracy"
    assert "epoch 1, step " in error
