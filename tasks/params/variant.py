"""The sections `variant` and `stylizer`: what is made of the test images."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tasks.params.fields import (
    Count,
    Integer,
    MisfitError,
    NonNegative,
    Positive,
    Precision,
    Section,
)

# The transfer that needs no stylizer, and the encoder that is downloaded.
FILTERED, IMAGENET = "filtered", "imagenet"
_ENCODERS, _WEIGHTS = Path("raw/encoder"), (".safetensors", ".pth")

Level = TypeVar("Level", int, float)

# The one folder of pictures that stages depend on in dvc.yaml.
Styles = Literal["raw/styles"] | None


def _encoder(value: Any) -> Any:
    """Stages depend on the folder of the files in dvc.yaml."""
    path = Path(value) if isinstance(value, str) else Path()
    if value != IMAGENET and (path.parent != _ENCODERS or path.suffix not in _WEIGHTS):
        allowed = " or ".join(f"{_ENCODERS}/NAME{suffix}" for suffix in _WEIGHTS)
        raise ValueError(f"{value!r} is not allowed; give {IMAGENET}, {allowed}")
    return value


def _distinct(levels: list[Level]) -> list[Level]:
    """Each gives a table of its own, named by six digits of it."""
    names = [f"{level:g}" for level in levels]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is named twice; levels differ in their first six digits")
    return levels


Levels = Annotated[list[Level], Field(min_length=1), AfterValidator(_distinct)]


class Stylizer(Section):
    encoder: Annotated[str, BeforeValidator(_encoder)]
    styles: Styles
    size: Annotated[Integer, Field(ge=32)]
    steps: Count
    batch_size: Count
    learning_rate: Positive
    style_weight: NonNegative
    identity_weight: NonNegative
    precision: Precision
    threads: Count


class Edges(Section):
    kind: Literal["edges"]
    levels: Levels[NonNegative]


class _Transferring(Section):
    levels: Levels[NonNegative]
    # `filtered`, or a name in the catalogue `stylizer`.
    transfer: str | None = None

    @model_validator(mode="after")
    def _strengths_are_shares(self) -> Self:
        if self.transfer not in (None, FILTERED) and max(self.levels) > 1:
            raise MisfitError(
                f"levels: {max(self.levels):g} is not allowed; a stylizer's strength is 0 to 1"
            )
        return self


class CueConflict(_Transferring):
    kind: Literal["cue_conflict"]


class Stylized(_Transferring):
    kind: Literal["stylized"]
    styles: Styles = None


class PositiveVariant(Section):
    kind: Literal["saturated", "brightness", "low_pass", "high_pass"]
    levels: Levels[Positive]


class PatchShuffled(Section):
    kind: Literal["patch_shuffled"]
    levels: Levels[Annotated[Integer, Field(ge=2)]]


Variant = Annotated[
    Stylized | CueConflict | Edges | PositiveVariant | PatchShuffled, Field(discriminator="kind")
]
