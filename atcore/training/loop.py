"""Standard and adversarial training: one loop for every method, which brings attack and loss.

A run resumed from a checkpoint equals, bit for bit on a CPU with the same number of threads, the
run that was never interrupted.
"""

import io
import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build
from atcore.training.data import Split
from atcore.training.progress import Epoch, Progress
from atcore.training.recorded import can_compile, cuda_graph
from atcore.training.run import Training, kept_epoch
from atcore.training.spec import TrainingSpec

# A fall of the robust validation accuracy below this share of its best is a collapse, if it is also
# by more than so many standard errors: few images give accuracies that jump.
_COLLAPSE, _ERRORS = 0.5, 3.0
# Steps of a training on a GPU that save the time of compiling them. On an H100 compiling ResNet-18
# took 37 s, and a step of PGD-10 on 128 images of 32 px then 15.2 ms instead of 18.4.
_COMPILE_FROM = 12_000


def has_collapsed(robust: Sequence[float], images: int) -> bool:
    """Whether adversarial training has lost its robustness (Wong et al. 2020, section 5).

    Args:
        robust: validation accuracy under attack after each epoch, the last one in question.
        images: how many each is of.
    """
    best, last = max(robust, default=0.0), robust[-1] if robust else 0.0
    either = (best + last) / 2
    error = math.sqrt(2 * either * (1 - either) / images)
    return last < _COLLAPSE * best and best - last > _ERRORS * error


def _collapsed(spec: TrainingSpec, history: tuple[Epoch, ...], images: int) -> bool:
    if spec.attack is None:
        return False
    after_warmup = history[math.ceil(spec.eps_warmup * spec.epochs) :]
    return has_collapsed([e.validation_robust_accuracy or 0.0 for e in after_warmup], images)


def train(
    spec: TrainingSpec,
    model_spec: ModelSpec,
    train_split: Split,
    validation_split: Split,
    *,
    checkpoint: bytes | None = None,
    device: torch.device | str = "cpu",
    rank: int = 0,
) -> Iterator[Progress]:
    """Train a network, yielding after every epoch; the last item has `finished` set.

    Where `spec.workers` is more than one, each of them calls this with its rank and otherwise the
    same arguments, and all get the same results and errors.

    Args:
        checkpoint: of an earlier, interrupted run with the same arguments; training goes on from
            it. A checkpoint of a finished run yields at once.
        rank: of this process in torch.distributed's default process group.

    Raises:
        TrainingDivergedError: the loss is NaN or infinite; names epoch and step.
    """
    device = torch.device(device)
    if device.type == "cuda":
        compile_from = _COMPILE_FROM if can_compile() else math.inf
        run = Training(
            *(spec, model_spec, len(train_split), device, rank),
            record=cuda_graph,
            compile_from=compile_from,
        )
    else:
        run = Training(spec, model_spec, len(train_split), device, rank)
    if checkpoint is not None:
        finished = run.restore(checkpoint)
        if finished is not None:
            yield Progress(run.history, checkpoint, finished, kept_epoch(spec, run.history))
            return
    train_split, validation_split = train_split.to(run.device), validation_split.to(run.device)
    previous = checkpoint
    reached = False
    for number in range(len(run.history) + 1, spec.epochs + 1):
        reached = run.epoch(number, train_split, validation_split)
        if previous is not None and _collapsed(spec, run.history, len(validation_split)):
            yield Progress(run.history, previous, "collapse", kept_epoch(spec, run.history[:-1]))
            return
        last = reached or number == spec.epochs
        finished = ("accuracy" if reached else "epochs") if last else None
        previous = run.save(finished)
        yield Progress(run.history, previous, finished, kept_epoch(spec, run.history))
        if last:
            return


def trained_weights(checkpoint: bytes, model_spec: ModelSpec) -> nn.Module:
    """The network that the run of a checkpoint hands out, on the CPU."""
    state = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
    model = build(model_spec)
    model.load_state_dict(state["kept"])
    return model
