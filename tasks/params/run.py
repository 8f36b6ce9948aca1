"""The sections `run` and `paper`: what is computed, by name."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tasks.params.fields import Integer, MisfitError, Section

# Networks of one's own are not trained here, and so there is one of each, with this seed.
GIVEN_SEED = 0


class Selection(Section):
    datasets: list[str] = Field(min_length=1)
    methods: list[str]
    controls: list[str]
    networks: list[str] = Field(default_factory=list)
    variants: list[str]
    transferred: list[str] = Field(default_factory=list)
    stylizers: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_networks(self) -> Self:
        if not self.methods and not self.networks:
            raise MisfitError(
                "methods: [] is not allowed without networks; name a method, or a network of your "
                "own in networks"
            )
        return self


class Run(Selection):
    seed: Annotated[Integer, Field(ge=0)]
    seeds: list[Annotated[Integer, Field(ge=0)]] = Field(min_length=1)

    @property
    def all_variants(self) -> list[str]:
        """Those that need a trained stylizer last, in the order of tables and figures."""
        return [*self.variants, *self.transferred]

    @property
    def trained(self) -> list[str]:
        """Everything that is trained, in the order of tables and figures."""
        return [*self.methods[:1], *self.controls, *self.methods[1:]]

    @property
    def models(self) -> list[str]:
        """Everything whose answers are compared, in the order of tables and figures."""
        return [*self.trained, *self.networks]

    def seeds_of(self, model: str) -> list[int]:
        """One for each network that there is of it."""
        return [GIVEN_SEED] if model in self.networks else self.seeds

    @property
    def each(self) -> list[tuple[str, int]]:
        """Every network that is compared, by name and seed."""
        return [(model, seed) for model in self.models for seed in self.seeds_of(model)]

    def suffix(self, model: str) -> str:
        """Of the names of the stages that ask a model."""
        if model in self.networks:
            return "_network"
        return "_control" if model in self.controls else ""

    def writer(self, model: str) -> str:
        """The stage that a model comes from."""
        return "network" if model in self.networks else f"train{self.suffix(model)}"
