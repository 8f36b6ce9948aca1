"""The mutable state of a training run, and its steps.

Batches come to the device as uint8, nothing synchronises inside an epoch, the attack runs on a
frozen twin of the network with folded batch normalisation, and every random number is a function
of (seed, purpose, epoch or step).

On a GPU the attack and the update of a whole batch are recorded at the first one and replayed at
all others (`atcore.training.recorded`); the last batch of an epoch may be smaller, and runs as it
is written.

Several workers may train one network: each takes its slice of every batch, and they sum their
gradients. The random numbers are drawn for the whole batch, so that they are those of one worker.
What differs is batch normalisation, which takes its statistics over a worker's slice (torch can
synchronise them on GPUs only, at the cost of a message per layer and pass); the running statistics
are averaged after every step, so that all workers attack, validate and save the same network.
"""

import copy
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from atcore.attacks.pgd import PGD
from atcore.base.errors import UserError
from atcore.base.rng import stream_key
from atcore.images.pixels import crop_flip, to_pixels
from atcore.images.table import at_most
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import FoldedTwin
from atcore.networks.models import build
from atcore.networks.precision import resolved
from atcore.networks.schedules import SCHEDULES
from atcore.training.allocation import keep_freed_memory
from atcore.training.data import Batch, Part, Split
from atcore.training.descent import Descent
from atcore.training.losses import Network
from atcore.training.progress import Epoch
from atcore.training.recorded import Input, Record, Recorded
from atcore.training.spec import TrainingSpec
from atcore.training.workers import Workers

# How often per epoch a run that stops at a given accuracy looks at it.
_STOP_CHECKS_PER_EPOCH = 16
VALIDATION_BATCH = 500

Function = Callable[..., Sequence[Tensor]]


class TrainingDivergedError(UserError):
    """The loss became NaN or infinite; the checkpoint of the epoch before is good."""


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the average of a network's weights and statistics towards those after a step from 0 on.

    The average keeps the share `decay`, in early steps no more than (1 + step) / (10 + step), as in
    TensorFlow's ExponentialMovingAverage: a short run would else end near its random start.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, share)
        else:
            mean.copy_(value)


def torch_rng(
    seed: int, purpose: str, *index: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on `device` whose stream is a function of the other arguments alone.

    CPU and CUDA generators use different algorithms: equal arguments give equal numbers on one kind
    of device, not across kinds.
    """
    key = stream_key(seed, purpose, *index) & (2**63 - 1)
    return torch.Generator(device=device).manual_seed(key)


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let modules that take no generator, as for initial weights and dropout, draw what it would.

    On a CPU torch's own generator is afterwards as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        yield


class Training:
    """The mutable state of one training run, the same on all its workers between two steps."""

    def __init__(
        self,
        spec: TrainingSpec,
        model_spec: ModelSpec,
        images: int,
        device: torch.device,
        rank: int = 0,
        record: Record | None = None,
        compile_from: float = math.inf,
    ) -> None:
        """Start a run, or get ready to restore one.

        Args:
            images: number of training images.
            rank: of this worker.
            record: how the steps of whole batches are recorded; None runs them as they are written.
            compile_from: steps of a run for which it pays to compile what is recorded.
        """
        torch.set_num_threads(spec.threads)
        if device.type == "cpu":
            keep_freed_memory()
        self.spec, self.device, self.image_size = spec, device, model_spec.image_size
        self.record, self.compile_from = record, compile_from
        self.workers = Workers(rank, spec.workers)
        self.per_epoch = math.ceil(images / spec.batch_size) * spec.updates_per_batch
        self.steps = spec.epochs * self.per_epoch
        with drawing_from(torch_rng(spec.seed, "train/weights")):
            model = build(model_spec)
        if spec.start is not None:
            spec.start.copy_to(model)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.descent = Descent(self.model, spec)
        self.history: tuple[Epoch, ...] = ()
        # Where the attack of free training left the last batch of this epoch.
        self.carried: Tensor | None = None
        # What is validated and handed out.
        self.average = copy.deepcopy(self.model) if spec.ema else self.model
        self.recorded: dict[str, Function] = {}
        native = self.workers.all(resolved(spec.precision, device) == "bf16", device)
        self.compute_in("bf16" if native else "fp32")
        # What is handed out: the weights themselves, or a copy of those of the best epoch.
        self.kept: dict[str, Tensor] = self.average.state_dict()

    def compute_in(self, precision: str) -> None:
        """Take all passes in `bf16` or `fp32`, those through the folded twins too."""
        self.precision = precision
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.twin = FoldedTwin(self.model, dtype)
        self.average_twin = FoldedTwin(self.average, dtype) if self.spec.ema else self.twin
        attacked = self.twin.module if self.spec.attack_mode == "eval" else self.model
        self.written = self.functions(attacked, self.model)
        if self.record is None:
            return
        recorded = self.written
        if self.steps >= self.compile_from:
            # Modules again, which torch's signature does not say.
            compiled: Any = (torch.compile(each, dynamic=False) for each in (attacked, self.model))
            recorded = self.functions(*compiled)
        self.recorded = {
            name: Recorded(function, self.record, self.device, self.descent.state)
            for name, function in recorded.items()
        }

    def functions(self, attacked: nn.Module, trained: nn.Module) -> dict[str, Function]:
        """What steps consist of, with the network or its twin as modules or what they compile to.

        They are functions of tensors, so that they can be recorded.
        """
        learner = self.logits(trained)
        return {
            "attack": partial(self.perturbed, attacked),
            "step": partial(self.descent.alone, learner),
            "contribution": partial(self.descent.contribution, learner),
            "step together": self.descent.together,
        }

    def autocast(self) -> AbstractContextManager[Any]:
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def logits(self, network: nn.Module) -> Network:
        """The network as a function to float32 logits, whatever the precision of its passes."""

        def call(x: Tensor) -> Tensor:
            with self.autocast():
                return network(x).float()

        return call

    def save(self, finished: str | None) -> bytes:
        buffer = io.BytesIO()
        state = {
            "finished": finished,
            "history": [vars(epoch) for epoch in self.history],
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "kept": self.kept,
            "momenta": self.descent.momenta,
        }
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, checkpoint: bytes) -> str | None:
        """Take over a saved state; returns how training finished, if it had."""
        state = torch.load(io.BytesIO(checkpoint), map_location=self.device, weights_only=True)
        self.history = tuple(Epoch(**epoch) for epoch in state["history"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        if self.spec.keep == "best_robust":
            self.kept = state["kept"]
        for momentum, saved in zip(self.descent.momenta, state["momenta"], strict=True):
            momentum.copy_(saved)
        # As it began, also on another device, so that it equals an uninterrupted run.
        self.compute_in(self.history[-1].precision)
        return state["finished"]

    def noise(self, attack: PGD, x: Tensor, purpose: str, index: int) -> Tensor | None:
        """What the attack starts from on a batch of images."""
        if not attack.random_start:
            return None
        generator = torch_rng(self.spec.seed, purpose, index, device=self.device)
        rows = attack.threat.zero(x).permute(0, 2, 3, 1)
        # Into memory in the order of the network's images, which torch fills six times as fast as
        # memory in another order than the axes.
        noise = torch.empty_like(rows, memory_format=torch.contiguous_format)
        return noise.normal_(generator=generator).permute(0, 3, 1, 2)

    def parts(self, batch: Batch, step: int) -> Iterator[Part]:
        """This worker's part of a batch, augmented and attacked, once for every update.

        Each part has to go through `update` before the next one is asked for.
        """
        size = len(batch.labels)
        part, counted = self.workers.share(size)
        x, y = to_pixels(batch.images), batch.labels[part]
        if self.spec.augment == "crop_flip":
            generator = torch_rng(self.spec.seed, "train/augment", step, device=self.device)
            x = crop_flip(x, self.image_size, generator)
        clean = x[part]
        if self.spec.attack is None:
            updates: Iterable[Tensor] = [clean]
        elif self.spec.replays is None:
            noise = self.noise(self.spec.attack, x, "train/attack", step)
            own = None if noise is None else noise[part]
            updates = self.run("attack", size, clean, y, own, self.size(step))
        else:
            updates = self.replayed(clean, self.spec.replays, step, size)
        for attacked in updates:
            yield Part(clean, attacked, y, counted, size)

    def size(self, step: int) -> float:
        """Of the attack at a step, as a share: as large as the warm-up lets it be."""
        warmup = self.spec.eps_warmup * self.steps
        return min(1.0, step / warmup) if warmup else 1.0

    def run(self, name: str, batch: int, *inputs: Input) -> Sequence[Tensor]:
        """What a function makes of inputs from a batch of so many images."""
        # Free training, which goes through attack and step at once, is not recorded.
        whole = batch == self.spec.batch_size and self.spec.replays is None
        functions = self.recorded if self.recorded and whole else self.written
        return functions[name](*inputs)

    def perturbed(
        self,
        network: nn.Module,
        clean: Tensor,
        y: Tensor,
        noise: Tensor | None,
        size: float | Tensor,
    ) -> tuple[Tensor]:
        """Attacked images of this worker's part of a batch."""
        assert self.spec.attack is not None
        attack = self.spec.attack.scaled(size)
        if self.spec.attack_mode == "eval":
            self.twin.refresh()
        target = self.spec.loss.target(self.logits(network), clean, y)
        with self.autocast():
            return (attack.perturb(network, clean, target, noise),)

    def replayed(self, clean: Tensor, replays: int, step: int, batch: int) -> Iterator[Tensor]:
        """Images of free training, each attacked along the gradient of the update before."""
        assert self.spec.attack is not None
        # A smaller last batch starts anew: its images are not divided among workers as others are.
        delta = self.carried if batch == self.spec.batch_size else None
        if delta is None:
            delta = self.spec.attack.threat.zero(clean)
        for replay in range(replays):
            attack = self.spec.attack.scaled(self.size(step + replay))
            delta = attack.threat.valid(clean, delta).requires_grad_()
            yield attack.threat.apply(clean, delta)
            assert delta.grad is not None
            delta = attack.step(delta.detach(), delta.grad)
        self.carried = delta

    def update(self, part: Part, rate: float) -> tuple[Tensor, Tensor]:
        """Learn from a part of a batch.

        Returns:
            The summed loss and the number of correct answers of this worker, on the device.
        """
        inputs = (part.clean, part.attacked, part.y)
        if self.workers.count > 1:
            weight = part.counted / part.batch
            loss, right, sums = self.run("contribution", part.batch, *inputs, weight)
            # Between two recordings, as a message is not recorded.
            self.workers.sum(sums)
            self.run("step together", part.batch, sums, rate)
        else:
            loss, right = self.run("step", part.batch, *inputs, rate)
        return loss * part.counted, right[: part.counted].sum()

    def validate(self, data: Split, attack: PGD | None) -> float:
        self.average_twin.refresh()
        network = self.average_twin.module
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        size = at_most(VALIDATION_BATCH, self.image_size)
        rows = torch.arange(len(data)).split(size)[self.workers.rank :: self.workers.count]
        for chosen, batch in zip(rows, data.batches(rows), strict=True):
            x, y = to_pixels(batch.images), batch.labels
            with self.autocast():
                if attack is not None:
                    noise = self.noise(attack, x, "validate/attack", int(chosen[0]))
                    x = attack.perturb(network, x, y, noise)
                with torch.no_grad():
                    correct += (network(x).argmax(1) == y).sum()
        self.workers.sum(correct)
        return correct.item() / len(data)

    def epoch(self, number: int, train: Split, validation: Split) -> bool:
        """Train for one epoch and append it to the history; true if the wanted accuracy is met."""
        spec = self.spec
        order = torch.randperm(len(train), generator=torch_rng(spec.seed, "train/order", number))
        check_every = max(1, self.per_epoch // _STOP_CHECKS_PER_EPOCH)
        losses, correct, seen, reached = [], [], 0, False
        self.model.train()
        # Not kept from epoch to epoch, so that a checkpoint need not hold what every worker has.
        self.carried = None
        start = (number - 1) * self.per_epoch
        parts = (
            part
            for index, batch in enumerate(train.batches(order.split(spec.batch_size)))
            for part in self.parts(batch, start + index * spec.updates_per_batch)
        )
        with drawing_from(torch_rng(spec.seed, "train/dropout", number, self.workers.rank)):
            for index, part in enumerate(parts):
                step = start + index
                rate = SCHEDULES[spec.schedule](step, self.steps, spec.learning_rate)
                loss, right = self.update(part, rate)
                if spec.ema:
                    follow(self.average, self.model, step, spec.ema)
                losses.append(loss)
                correct.append(right)
                seen += part.batch
                if spec.stop_at_accuracy is not None and (index + 1) % check_every == 0:
                    reached = self.validate(validation, None) >= spec.stop_at_accuracy
                    if reached:
                        break
        loss_sums, correct_sum = torch.stack(losses), torch.stack(correct).sum()
        self.workers.sum(loss_sums)
        self.workers.sum(correct_sum)
        finite = loss_sums.isfinite()
        # The last update of the epoch has no loss yet that would show what became of the weights.
        finite[-1] &= all(bool(p.isfinite().all()) for p in self.model.parameters())
        if not finite.all():
            step_in_epoch = int((~finite).int().argmax()) + 1
            raise TrainingDivergedError(
                f"loss is not finite in epoch {number}, step {step_in_epoch} of {self.per_epoch}; "
                f"lower learning_rate (now {spec.learning_rate})"
            )
        robust = None
        if spec.validation_attack is not None:
            robust = self.validate(validation, spec.validation_attack)
        result = Epoch(
            number,
            loss_sums.sum().item() / seen,
            correct_sum.item() / seen,
            self.validate(validation, None),
            robust,
            self.precision,
        )
        self.history += (result,)
        if spec.keep == "best_robust" and kept_epoch(spec, self.history) is result:
            self.kept = copy.deepcopy(self.average.state_dict())
        return reached


def kept_epoch(spec: TrainingSpec, history: tuple[Epoch, ...]) -> Epoch:
    """The epoch whose weights are handed out after those of `history`."""
    if spec.keep == "best_robust":
        return max(history, key=lambda epoch: epoch.validation_robust_accuracy or 0.0)
    return history[-1]
