"""The sections `evaluate`, `quality` and `salience`: what is asked of networks and of variants."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.params.attack import AutoAttacked, Robustness
from tasks.params.fields import Count, MisfitError, NonNegative, Section


class Evaluate(Section):
    robustness: list[Robustness]
    auto_attack: list[AutoAttacked]
    shard: Count

    @model_validator(mode="after")
    def _attacks_differ(self) -> Self:
        entries: list[tuple[str, str, float]] = [
            *(("robustness", attack.norm, attack.eps) for attack in self.robustness),
            *(("auto_attack", attack.norm, attack.eps) for attack in self.auto_attack),
        ]
        for key, norm, eps in entries:
            if entries.count((key, norm, eps)) > 1:
                raise MisfitError(
                    f"{key}: norm {norm} with eps {eps:g} is not allowed twice; "
                    "predictions are kept by norm and eps"
                )
        return self


class Quality(Section):
    images: Annotated[int, Field(ge=100)]
    epochs: Count


class Salience(Section):
    images: Count
    measured: dict[Literal["gradient", "smoothgrad", "integrated_gradients", "grad_cam"], Count] = (
        Field(min_length=1)
    )
    smooth_samples: Count
    smooth_noise: NonNegative
    integration_steps: Count

    @model_validator(mode="after")
    def _shown_are_measured(self) -> Self:
        for kind, count in self.measured.items():
            if count < self.images:
                raise MisfitError(
                    f"measured.{kind}: {count} is not allowed while salience.images is "
                    f"{self.images}; give {self.images} or more"
                )
        return self
