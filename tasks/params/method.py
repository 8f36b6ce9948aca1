"""The sections `method` and `training`: how a network is trained."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.params.attack import FgsmAttack, FreeAttack, PgdAttack
from tasks.params.fields import (
    BelowOne,
    Count,
    MisfitError,
    NonNegative,
    Positive,
    Section,
    Share,
)


class CrossEntropyLoss(Section):
    kind: Literal["cross_entropy"]


class TradesLoss(Section):
    kind: Literal["trades"]
    beta: NonNegative


class Method(Section):
    learning_rate: Positive
    momentum: BelowOne
    weight_decay: NonNegative
    attack: Annotated[FgsmAttack | PgdAttack | FreeAttack, Field(discriminator="kind")] | None = (
        None
    )
    loss: Annotated[CrossEntropyLoss | TradesLoss, Field(discriminator="kind")] | None = None
    label_smoothing: BelowOne | None = None
    eps_warmup: Share | None = None
    schedule: Literal["cosine", "piecewise", "constant"] | None = None
    ema: BelowOne | None = None
    keep: Literal["last", "best_robust"] | None = None
    stop_at: str | None = None
    workers: Count | None = None

    @model_validator(mode="after")
    def _attack_is_there(self) -> Self:
        if self.keep == "best_robust" and (self.attack is None or self.stop_at):
            raise MisfitError(
                "keep: 'best_robust' is not allowed without an attack or with stop_at; give 'last'"
            )
        if isinstance(self.loss, TradesLoss) and not isinstance(self.attack, PgdAttack):
            raise MisfitError("loss: 'trades' is not allowed without an attack of kind pgd")
        return self


class Training(Section):
    attack_mode: Literal["eval", "train"]
    validation_steps: Count
