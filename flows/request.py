"""What a run of the flow is asked for."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.errors import UserError

# What is allowed, by parameter, for those that are more than switches.
_ALLOWED = {
    "targets": "name stages of dvc.yaml, or give none for all",
    "overrides": "give key=value, as for `dvc exp run -S`",
    "jobs": "give 1 or more, or nothing",
    "experiment": "give a name, or nothing",
}


class Request(BaseModel):
    """The parameters of the flow `reproduce`, which describes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: list[Annotated[str, Field(min_length=1)]]
    overrides: list[Annotated[str, Field(min_length=1)]]
    jobs: Annotated[int, Field(ge=1)] | None
    force: bool
    pull: bool
    push: bool
    experiment: Annotated[str, Field(min_length=1)] | None
    dry_run: bool

    @classmethod
    def of(cls, **parameters: Any) -> Self:
        """
        Raises:
            UserError: a value is not allowed.
        """
        try:
            return cls(**parameters)
        except ValidationError as error:
            problem = error.errors()[0]
            key = str(problem["loc"][0])
            allowed = _ALLOWED.get(key, "give true or false")
            raise UserError(f"{key}: {problem['input']!r} is not allowed; {allowed}") from error
