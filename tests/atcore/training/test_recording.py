"""Steps that are recorded and replayed do what those do that run as they are written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from shutil import which
from typing import Any

import pytest
import torch
from atcore_samples import halved, model_spec, repeated, shapes_table, split_of, training_spec
from torch import Tensor
from torch._dynamo.utils import counters

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial
from atcore.attacks.threats import L2, Linf
from atcore.training.losses import Trades
from atcore.training.recorded import Recorded, cuda_graph
from atcore.training.run import Training

CPU = torch.device("cpu")
TABLE = shapes_table(140)
TRAIN, VALIDATION = (halved(split_of(TABLE.rows(r))) for r in (slice(0, 100), slice(100, 140)))
ATTACK = PGD(threat=Linf(4 / 255), step_size=2 / 255, steps=2)
# 100 images: three whole batches an epoch, and one that is not.
SPEC = training_spec(
    epochs=2, batch_size=32, attack=ATTACK, eps_warmup=0.7, validation_attack=ATTACK
)


def trained(
    spec: Any, device: torch.device, checkpoint: bytes | None = None, **how: Any
) -> Training:
    state = Training(spec, model_spec(TRAIN), len(TRAIN), device, **how)
    if checkpoint is not None:
        state.restore(checkpoint)
    for number in range(len(state.history) + 1, spec.epochs + 1):
        state.epoch(number, TRAIN.to(device), VALIDATION.to(device))
    return state


def equal(state: Training, expected: Training) -> bool:
    ours, theirs = (each.average.state_dict() for each in (state, expected))
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


KINDS: dict[str, dict[str, Any]] = {
    "pgd": {},
    "l2": {"attack": replace(ATTACK, threat=L2(0.5), step_size=0.2)},
    "spatial": {"attack": replace(ATTACK, threat=Spatial(0.5, 0.005), step_size=0.25)},
    "fgsm": {"attack": replace(ATTACK, steps=1, random_start=False)},
    "attack in train mode": {"attack_mode": "train"},
    "trades": {"loss": Trades(beta=6), "attack": replace(ATTACK, start_deviation=0.001)},
    "free": {"attack": replace(ATTACK, steps=1, random_start=False), "replays": 2},
    "ema": {"ema": 0.9, "augment": "crop_flip"},
    "standard": {"attack": None, "validation_attack": None},
    "without momentum": {"momentum": 0.0},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_run_equals_one_as_it_is_written(kind: str) -> None:
    spec = replace(SPEC, **KINDS[kind])
    recordings = 0

    def record(run: Callable[[], Sequence[Tensor]]) -> Any:
        nonlocal recordings
        recordings += 1
        return repeated(run)

    written = trained(spec, CPU)
    assert equal(trained(spec, CPU, record=record), written)
    # Free training goes through both at once.
    assert recordings == (0 if spec.replays else 1 if spec.attack is None else 2)


def test_a_recorded_run_goes_on_from_a_checkpoint() -> None:
    begun = Training(SPEC, model_spec(TRAIN), len(TRAIN), CPU, record=repeated)
    begun.epoch(1, TRAIN, VALIDATION)
    resumed = trained(SPEC, CPU, begun.save(None), record=repeated)
    assert equal(resumed, trained(SPEC, CPU))


@pytest.mark.long
@pytest.mark.skipif(which("c++") is None, reason="needs a C++ compiler")
def test_a_compiled_run_trains_as_one_as_it_is_written() -> None:
    before = counters["stats"]["unique_graphs"]
    compiled = trained(SPEC, CPU, record=repeated, compile_from=0)
    assert counters["stats"]["unique_graphs"] > before
    written = trained(SPEC, CPU)
    for ours, expected in zip(compiled.history, written.history, strict=True):
        # The signs of small gradients depend on rounding.
        assert ours.loss == pytest.approx(expected.loss, rel=0.01)


def test_recording_leaves_no_trace_in_the_state() -> None:
    count = torch.zeros(1)

    def add(x: Tensor, y: float | Tensor) -> tuple[Tensor]:
        return (count.add_(x).mul(y),)

    recorded = Recorded(add, repeated, CPU, [count])
    one = recorded(torch.tensor([1.0]), 10.0)
    two = recorded(torch.tensor([2.0]), 100.0)
    assert [x.item() for x in (*one, *two, count)] == [10, 300, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_a_cuda_graph_trains_as_the_code_does_that_it_was_recorded_from(
    changes: dict[str, Any],
) -> None:
    device = torch.device("cuda")
    spec = replace(SPEC, **changes)
    written, recorded = trained(spec, device), trained(spec, device, record=cuda_graph)
    for ours, expected in zip(recorded.history, written.history, strict=True):
        assert ours.loss == pytest.approx(expected.loss, rel=0.02)
