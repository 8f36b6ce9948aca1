"""The sections `evaluate`, `quality` and `salience`: what is asked of networks and of variants."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.params.attack import AutoAttacked, Robustness
from tasks.params.fields import Count, Integer, MisfitError, NonNegative, Section


class Evaluate(Section):
    robustness: list[Robustness]
    auto_attack: list[AutoAttacked]
    shard: Count

    @property
    def attacks(self) -> dict[str, Sequence[Robustness | AutoAttacked]]:
        """All attacks on the test images, by their key."""
        return {"robustness": self.robustness, "auto_attack": self.auto_attack}

    @model_validator(mode="after")
    def _attacks_differ(self) -> Self:
        for key, entries in self.attacks.items():
            seen: dict[tuple[str, float], int] = {}
            for place, entry in enumerate(entries):
                first = seen.setdefault((entry.norm, entry.eps), place)
                if first != place:
                    raise MisfitError(
                        f"{key}.{place}: norm {entry.norm} with eps {entry.eps:g} is not allowed "
                        f"again after {key}.{first}; predictions are told apart by norm and eps "
                        "alone"
                    )
        return self


class Quality(Section):
    images: Annotated[Integer, Field(ge=100)]
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
