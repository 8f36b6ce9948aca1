"""Standard and adversarial training: one loop for every method, which brings attack and loss.

The data stay on the device as uint8, nothing synchronises inside an epoch, the attack runs on a
frozen twin of the network with folded batch normalisation, and every random number is a function
of (seed, purpose, epoch or step). A run resumed from a checkpoint therefore equals, bit for bit on
a CPU with the same number of threads, the run that was never interrupted.

Several workers may train one network: each takes its slice of every batch, and they sum their
gradients. The random numbers are drawn for the whole batch, so that they are those of one worker.
What differs is batch normalisation, which takes its statistics over a worker's slice (torch can
synchronise them on GPUs only, at the cost of a message per layer and pass); the running statistics
are averaged after every step, so that all workers attack, validate and save the same network.
"""

import copy
import io
import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from atcore.architecture import ModelSpec
from atcore.attacks import PGD
from atcore.errors import UserError
from atcore.folding import FoldedTwin
from atcore.images.table import ImageTable
from atcore.losses import CrossEntropy, Loss, Network
from atcore.models import build
from atcore.pixels import crop_flip, to_pixels
from atcore.precision import resolved
from atcore.pretrained import Pretrained
from atcore.rng import stream_key
from atcore.schedules import SCHEDULES
from atcore.workers import Workers

# How often per epoch a run that stops at a given accuracy looks at it.
_STOP_CHECKS_PER_EPOCH = 16
# A fall of the robust validation accuracy below this share of its best is a collapse.
_COLLAPSE = 0.5
_VALIDATION_BATCH = 500


class TrainingDivergedError(UserError):
    """The loss became NaN or infinite; the checkpoint of the epoch before is good."""


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """Everything that decides the weights, apart from the data and the architecture.

    Attributes:
        epochs, batch_size: whole numbers >= 1.
        learning_rate: peak of the schedule.
        momentum, weight_decay: of SGD with Nesterov momentum.
        attack: makes the training images adversarial; None trains on clean images.
        replays: None attacks every batch afresh. A number makes the training *free* (Shafahi et al.
            2019, arXiv 1904.12843, algorithm 1): every batch is trained on so many times in a row,
            and the backward pass of each update also gives the attack its next step, from where
            the batch before left it. An epoch then costs as much as `replays` standard ones.
        attack_mode: `eval` attacks the network as it will be used; `train` attacks it with batch
            statistics, which the attack then also updates.
        eps_warmup: share of the steps, 0 to 1, over which eps and step size grow from 0 to their
            values; without it a small network can fail to learn anything under attack.
        validation_attack: measures robust validation accuracy after every epoch; None skips it.
        augment: `none`, or `crop_flip`: random crops of the network's size, half of them flipped;
            images of that size are zero-padded by an eighth of it before.
        precision: `fp32` or `bf16` (autocast) for the forward and backward passes; `auto` is bf16
            where the devices of all workers compute it natively, fp32 elsewhere.
        threads: CPU threads; part of the computation, since sums depend on it.
        stop_at_accuracy: stop as soon as the clean validation accuracy reaches this value.
        seed: of initialisation, order, augmentation and attack.
        workers: processes that share every batch; part of the computation, since batch
            normalisation sees the slice of one worker.
        loss: what the attack raises and the update lowers.
        schedule: of the learning rate, a name in `atcore.schedules.SCHEDULES`.
        ema: decay, 0 to below 1, of the moving average of the weights over the steps, which is then
            what is validated and handed out; 0 takes the weights themselves.
        keep: `last` hands out the last epoch's weights; `best_robust` those of the (first) epoch of
            the highest robust validation accuracy, against robust overfitting (Rice et al. 2020,
            arXiv 2002.11569, section 3.2).
        start: weights that all layers but the last start from; None starts from random ones.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    attack: PGD | None
    attack_mode: str
    eps_warmup: float
    validation_attack: PGD | None
    augment: str
    precision: str
    threads: int
    stop_at_accuracy: float | None
    seed: int
    workers: int = 1
    replays: int | None = None
    loss: Loss = field(default_factory=CrossEntropy)
    schedule: str = "cosine"
    ema: float = 0.0
    keep: str = "last"
    start: Pretrained | None = None

    def __post_init__(self) -> None:
        if self.keep == "best_robust" and self.validation_attack is None:
            raise UserError("keep: 'best_robust' is not allowed without a validation attack")
        if self.replays is not None and self.attack is None:
            raise UserError(f"replays: {self.replays} is not allowed without an attack")

    @property
    def updates_per_batch(self) -> int:
        return self.replays or 1


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Attributes:
        number: 1 for the first epoch.
        loss, accuracy: means over the training images; the accuracy is that on attacked images
            where there is an attack.
        validation_accuracy: on clean validation images.
        validation_robust_accuracy: under the validation attack; None without one.
        precision: `bf16` or `fp32`, of its passes.
    """

    number: int
    loss: float
    accuracy: float
    validation_accuracy: float
    validation_robust_accuracy: float | None
    precision: str


@dataclass(frozen=True)
class Progress:
    """The state after an epoch, enough to go on from or to end with.

    Attributes:
        history: all epochs so far.
        checkpoint: bytes that `train(..., checkpoint=...)` resumes from.
        finished: `epochs`, `accuracy` (stopped at the wanted accuracy) or `collapse` when this is
            the end, None while training goes on. After a collapse the checkpoint holds the last
            good epoch's weights.
        kept: the epoch whose weights `trained_weights(checkpoint, ...)` gives.
    """

    history: tuple[Epoch, ...]
    checkpoint: bytes
    finished: str | None
    kept: Epoch


@dataclass(frozen=True)
class Split:
    """Images (uint8, N x H x W x 3, 0 to 255) and labels (int64, N) as tensors."""

    images: Tensor
    labels: Tensor

    @staticmethod
    def of(table: ImageTable) -> "Split":
        """The images and labels of a table, copied."""
        labels = torch.from_numpy(table.labels.astype(np.int64))
        return Split(torch.from_numpy(table.images.copy()), labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Part:
    """What one worker computes of a batch.

    Attributes:
        clean: float32 images in [0, 1], augmented; y: their labels.
        attacked: the same after the attack, if there is one.
        counted: how many of them count.
        batch: the number of images of the whole batch.
    """

    clean: Tensor
    attacked: Tensor
    y: Tensor
    counted: int
    batch: int


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


class Training:
    """The mutable state of one training run, the same on all its workers between two steps."""

    def __init__(
        self,
        spec: TrainingSpec,
        model_spec: ModelSpec,
        images: int,
        device: torch.device,
        rank: int = 0,
    ) -> None:
        torch.set_num_threads(spec.threads)
        self.spec, self.device, self.image_size = spec, device, model_spec.image_size
        self.workers = Workers(rank, spec.workers)
        self.per_epoch = math.ceil(images / spec.batch_size) * spec.updates_per_batch
        self.steps = spec.epochs * self.per_epoch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_rng(spec.seed, "train/weights").initial_seed())
            model = build(model_spec)
        if spec.start is not None:
            spec.start.copy_to(model)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=spec.learning_rate,
            momentum=spec.momentum,
            weight_decay=spec.weight_decay,
            nesterov=spec.momentum > 0,
        )
        self.history: tuple[Epoch, ...] = ()
        # Where the attack of free training left the last batch of this epoch.
        self.carried: Tensor | None = None
        # What is validated and handed out.
        self.average = copy.deepcopy(self.model) if spec.ema else self.model
        native = self.workers.all(resolved(spec.precision, device) == "bf16", device)
        self.compute_in("bf16" if native else "fp32")
        # What is handed out: the weights themselves, or a copy of those of the best epoch.
        self.kept: dict[str, Tensor] = self.average.state_dict()
        self.statistics: list[Tensor] = []
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                self.statistics += [module.running_mean, module.running_var]

    def compute_in(self, precision: str) -> None:
        """Take all passes in `bf16` or `fp32`, those through the folded twins too."""
        self.precision = precision
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.twin = FoldedTwin(self.model, dtype)
        self.average_twin = FoldedTwin(self.average, dtype) if self.spec.ema else self.twin

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
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, checkpoint: bytes) -> str | None:
        """Take over a saved state; returns how training finished, if it had."""
        state = torch.load(io.BytesIO(checkpoint), map_location=self.device, weights_only=True)
        self.history = tuple(Epoch(**epoch) for epoch in state["history"])
        # As it began, also on another device, so that it equals an uninterrupted run.
        self.compute_in(self.history[-1].precision)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        if self.spec.keep == "best_robust":
            self.kept = state["kept"]
        self.optimizer.load_state_dict(state["optimizer"])
        return state["finished"]

    def noise(self, attack: PGD, x: Tensor, purpose: str, index: int) -> Tensor | None:
        """What the attack starts from on a batch of images."""
        if not attack.random_start:
            return None
        generator = torch_rng(self.spec.seed, purpose, index, device=self.device)
        return attack.threat.zero(x).normal_(generator=generator)

    def parts(self, train: Split, chosen: Tensor, step: int) -> Iterator[Part]:
        """This worker's part of the chosen images, augmented and attacked, once for every update.

        Each part has to go through `update` before the next one is asked for.
        """
        part, counted = self.workers.share(len(chosen))
        x, y = to_pixels(train.images[chosen]), train.labels[chosen][part]
        if self.spec.augment == "crop_flip":
            generator = torch_rng(self.spec.seed, "train/augment", step, device=self.device)
            x = crop_flip(x, self.image_size, generator)
        clean = x[part]
        if self.spec.attack is None:
            updates: Iterable[Tensor] = [clean]
        elif self.spec.replays is None:
            updates = [self.perturbed(x, y, part, step)]
        else:
            updates = self.replayed(clean, self.spec.replays, step, len(chosen))
        for attacked in updates:
            yield Part(clean, attacked, y, counted, len(chosen))

    def attack(self, step: int) -> PGD:
        """The attack at a step, as large as the warm-up lets it be."""
        assert self.spec.attack is not None
        warmup = self.spec.eps_warmup * self.steps
        return self.spec.attack.scaled(min(1.0, step / warmup) if warmup else 1.0)

    def perturbed(self, x: Tensor, y: Tensor, part: slice, step: int) -> Tensor:
        """Attacked images of this worker's part, with labels y, of a batch x."""
        attack, clean, network = self.attack(step), x[part], self.model
        if self.spec.attack_mode == "eval":
            self.twin.refresh()
            network = self.twin.module
        noise = self.noise(attack, x, "train/attack", step)
        target = self.spec.loss.target(self.logits(network), clean, y)
        with self.autocast():
            return attack.perturb(network, clean, target, None if noise is None else noise[part])

    def replayed(self, clean: Tensor, replays: int, step: int, batch: int) -> Iterator[Tensor]:
        """Images of free training, each attacked along the gradient of the update before."""
        # A smaller last batch starts anew: its images are not divided among workers as others are.
        delta = self.carried if batch == self.spec.batch_size else None
        if delta is None:
            delta = self.attack(step).threat.zero(clean)
        for replay in range(replays):
            attack = self.attack(step + replay)
            delta = attack.threat.valid(clean, delta).requires_grad_()
            yield attack.threat.apply(clean, delta)
            assert delta.grad is not None
            delta = attack.step(delta.detach(), delta.grad)
        self.carried = delta

    def update(self, part: Part, rate: float) -> tuple[Tensor, Tensor]:
        """One step of SGD, the same on all workers.

        Returns:
            The summed loss and the number of correct answers of this worker, on the device.
        """
        weight = part.counted / part.batch
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, logits = self.spec.loss(self.logits(self.model), part.clean, part.attacked, part.y)
        self.optimizer.zero_grad(set_to_none=True)
        (loss * weight).backward()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.workers.sum([*gradients, *(statistic.mul_(weight) for statistic in self.statistics)])
        self.optimizer.step()
        right = logits.detach().argmax(1) == part.y
        return loss.detach() * part.counted, right[: part.counted].sum()

    def validate(self, data: Split, attack: PGD | None) -> float:
        self.average_twin.refresh()
        network = self.average_twin.module
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        batches = range(0, len(data.labels), _VALIDATION_BATCH)
        for start in batches[self.workers.rank :: self.workers.count]:
            part = slice(start, start + _VALIDATION_BATCH)
            x, y = to_pixels(data.images[part]), data.labels[part]
            with self.autocast():
                if attack is not None:
                    noise = self.noise(attack, x, "validate/attack", start)
                    x = attack.perturb(network, x, y, noise)
                with torch.no_grad():
                    correct += (network(x).argmax(1) == y).sum()
        self.workers.sum([correct])
        return correct.item() / len(data.labels)

    def epoch(self, number: int, train: Split, validation: Split) -> bool:
        """Train for one epoch and append it to the history; true if the wanted accuracy is met."""
        spec, n = self.spec, len(train.labels)
        order = torch.randperm(n, generator=torch_rng(spec.seed, "train/order", number))
        check_every = max(1, self.per_epoch // _STOP_CHECKS_PER_EPOCH)
        losses, correct, seen, reached = [], [], 0, False
        self.model.train()
        # Not kept from epoch to epoch, so that a checkpoint need not hold what every worker has.
        self.carried = None
        start = (number - 1) * self.per_epoch
        parts = (
            part
            for index, chosen in enumerate(order.to(self.device).split(spec.batch_size))
            for part in self.parts(train, chosen, start + index * spec.updates_per_batch)
        )
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
        self.workers.sum([loss_sums])
        self.workers.sum([correct_sum])
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
        if spec.keep == "best_robust" and _kept(spec, self.history) is result:
            self.kept = copy.deepcopy(self.average.state_dict())
        return reached


def _kept(spec: TrainingSpec, history: tuple[Epoch, ...]) -> Epoch:
    """The epoch whose weights are handed out after those of `history`."""
    if spec.keep == "best_robust":
        return max(history, key=lambda epoch: epoch.validation_robust_accuracy or 0.0)
    return history[-1]


def _collapsed(spec: TrainingSpec, history: tuple[Epoch, ...]) -> bool:
    """Whether adversarial training lost its robustness (Wong et al. 2020, section 5)."""
    if spec.attack is None:
        return False
    after_warmup = history[math.ceil(spec.eps_warmup * spec.epochs) :]
    robust = [e.validation_robust_accuracy or 0.0 for e in after_warmup]
    return len(robust) > 1 and robust[-1] < _COLLAPSE * max(robust)


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
    run = Training(spec, model_spec, len(train_split.labels), torch.device(device), rank)
    if checkpoint is not None:
        finished = run.restore(checkpoint)
        if finished is not None:
            yield Progress(run.history, checkpoint, finished, _kept(spec, run.history))
            return
    train_split, validation_split = train_split.to(run.device), validation_split.to(run.device)
    previous = checkpoint
    reached = False
    for number in range(len(run.history) + 1, spec.epochs + 1):
        reached = run.epoch(number, train_split, validation_split)
        if previous is not None and _collapsed(spec, run.history):
            yield Progress(run.history, previous, "collapse", _kept(spec, run.history[:-1]))
            return
        last = reached or number == spec.epochs
        finished = ("accuracy" if reached else "epochs") if last else None
        previous = run.save(finished)
        yield Progress(run.history, previous, finished, _kept(spec, run.history))
        if last:
            return


def trained_weights(checkpoint: bytes, model_spec: ModelSpec) -> nn.Module:
    """The network that the run of a checkpoint hands out, on the CPU."""
    state = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
    model = build(model_spec)
    model.load_state_dict(state["kept"])
    return model
