"""What decides a training, apart from the data and the architecture."""

from dataclasses import dataclass, field

from atcore.attacks.pgd import PGD
from atcore.base.errors import UserError
from atcore.networks.pretrained import Pretrained
from atcore.training.losses import CrossEntropy, Loss


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
        schedule: of the learning rate, a name in `atcore.networks.schedules.SCHEDULES`.
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
    precision: str
    threads: int
    seed: int
    attack: PGD | None = None
    attack_mode: str = "eval"
    validation_attack: PGD | None = None
    augment: str = "none"
    stop_at_accuracy: float | None = None
    eps_warmup: float = 0.0
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
