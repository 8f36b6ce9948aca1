"""The section `network`: networks of one's own, which are not trained here."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from tasks.params.architectures import known_or_given
from tasks.params.fields import Integer, MisfitError, Number, Section, Share


def _in_the_folder(name: str) -> str:
    """The stage depends on the folder of the files in dvc.yaml."""
    if not name or Path(name).name != name:
        raise ValueError(f"{name!r} is not allowed; give the name of a file in raw/networks")
    return name


File = Annotated[str, AfterValidator(_in_the_folder)] | None
_THREE = Field(min_length=3, max_length=3)


class Network(Section):
    architecture: Annotated[str, AfterValidator(known_or_given)] | None
    mean: Annotated[tuple[Share, ...], _THREE] | None
    std: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], _THREE] | None
    input_size: Annotated[Integer, Field(ge=8)] | None
    classes: File
    groups: File

    @model_validator(mode="after")
    def _normalisation_is_whole(self) -> Self:
        for key, other in (("mean", "std"), ("std", "mean")):
            if getattr(self, key) is None and getattr(self, other) is not None:
                raise MisfitError(
                    f"{key}: null is not allowed beside {other}; give three numbers, or null for "
                    "both where the network normalises its input itself"
                )
        return self
