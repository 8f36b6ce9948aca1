"""The sections `run` and `paper`: what is computed, by name."""

from typing import Annotated

from pydantic import Field

from tasks.params.fields import Integer, Section


class Selection(Section):
    datasets: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    controls: list[str]
    variants: list[str]
    transferred: list[str] = Field(default_factory=list)
    stylizers: list[str] = Field(default_factory=list)


class Run(Selection):
    seed: Annotated[Integer, Field(ge=0)]
    seeds: list[Annotated[Integer, Field(ge=0)]] = Field(min_length=1)

    @property
    def all_variants(self) -> list[str]:
        """Those that need a trained stylizer last, in the order of tables and figures."""
        return [*self.variants, *self.transferred]

    @property
    def models(self) -> list[str]:
        """Everything that is trained, in the order of tables and figures."""
        first, *rest = self.methods
        return [first, *self.controls, *rest]
