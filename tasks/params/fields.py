"""What all sections are made of: a base that knows its keys, and the types of their values."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from atcore.base.numbers import fraction


class Section(BaseModel):
    """A part of params.yaml.

    What may be left out is None then: the default is given where the value is used, as it decides
    results, which nothing here does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, section: Any) -> Any:
        for key in section if isinstance(section, dict) else ():
            if key not in cls.model_fields:
                allowed = ", ".join(cls.model_fields)
                raise ValueError(f"{key!r} is an unknown key; allowed: {allowed}")
        return section

    def given(self, *names: str) -> dict[str, Any]:
        """Those of these keys that are not left out, with their values."""
        return self.model_dump(include=set(names), exclude_none=True)


class MisfitError(ValueError):
    """A value does not fit others; the message begins with its key below the section checked."""


def _fraction(value: Any) -> Any:
    """Accept `8/255` beside plain numbers, and no true or false as one."""
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not allowed; give a number")  # noqa: TRY004
    if isinstance(value, str) and "/" in value:
        try:
            return fraction(value)
        except ValueError as error:
            raise ValueError(
                f"{value!r} is not allowed; give a number or a fraction such as 8/255"
            ) from error
    return value


Number = Annotated[float, BeforeValidator(_fraction), Field(allow_inf_nan=False)]
NonNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
# Of a share of which something else has to be left.
BelowOne = Annotated[Number, Field(ge=0, lt=1)]
# Strict: neither `true` nor 1.0 is 1, and some are names of stages and files too.
Integer = Annotated[int, Field(strict=True)]
Count = Annotated[Integer, Field(ge=1)]
# Of a training: atcore.networks.precision says what `auto` is.
Precision = Literal["auto", "bf16", "fp32"]
