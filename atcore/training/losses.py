"""What training minimises: the seam between its methods.

A loss says what the attack moves the images away from, and what one step of SGD minimises once it
has. Both get the network as a function from images (float32, N x C x H x W in [0, 1]) to logits
(float32, N x classes).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from atcore.base.errors import UserError

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Loss(ABC):
    """The loss of one method.

    Attributes:
        label_smoothing: share, from 0 to less than 1, of the labels' weight that is spread evenly
            over all classes in the cross-entropy with them (Szegedy et al. 2016, arXiv 1512.00567,
            section 7); the attack keeps the labels as they are.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UserError(
                f"label_smoothing: {self.label_smoothing} is not allowed; "
                "give a share from 0 to less than 1"
            )

    @abstractmethod
    def target(self, network: Network, x: Tensor, y: Tensor) -> Tensor:
        """What the attack moves clean images x with labels y away from.

        Returns:
            Labels (int64, N) or probabilities (float32, N x classes): the attack raises the
            cross-entropy with them.
        """

    @abstractmethod
    def __call__(
        self, network: Network, clean: Tensor, attacked: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean loss of a batch, and the logits of its attacked images."""


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    """Cross-entropy on the attacked images (Madry et al. 2018, arXiv 1706.06083, eq. 2.1)."""

    def target(self, network: Network, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        return y

    def __call__(
        self,
        network: Network,
        clean: Tensor,  # noqa: ARG002
        attacked: Tensor,
        y: Tensor,
    ) -> tuple[Tensor, Tensor]:
        logits = network(attacked)
        return F.cross_entropy(logits, y, label_smoothing=self.label_smoothing), logits


@dataclass(frozen=True, kw_only=True)
class Trades(Loss):
    """CE(p(x), y) + beta * KL(p(x) || p(x')) (Zhang et al. 2019, arXiv 1901.08573, eq. 5).

    The attacked images x' maximise the second term. For fixed p(x) that divergence is the
    cross-entropy with p(x), up to a constant. At x itself its gradient is zero, so that the attack
    has to start elsewhere. The gradient of the loss flows through both distributions, as in the
    authors' code.

    Attributes:
        beta: weight of robustness against accuracy, at least 0; the paper takes 1 to 6.
    """

    beta: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < float("inf"):
            raise UserError(f"beta: {self.beta} is not allowed; give a finite number >= 0")

    @torch.no_grad()
    def target(self, network: Network, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        return network(x).softmax(1)

    def __call__(
        self, network: Network, clean: Tensor, attacked: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Two passes, as in the authors' code: batch normalisation never mixes the two kinds.
        natural, robust = network(clean), network(attacked)
        divergence = F.kl_div(
            robust.log_softmax(1), natural.log_softmax(1), reduction="batchmean", log_target=True
        )
        accuracy = F.cross_entropy(natural, y, label_smoothing=self.label_smoothing)
        return accuracy + self.beta * divergence, robust
