"""The whole of `params.yaml`, and what its sections say of each other."""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from atcore.base.errors import UserError
from tasks.params.architectures import has_feature_maps
from tasks.params.attack import PgdAttack, require_possible, require_reach
from tasks.params.dataset import Dataset
from tasks.params.evaluate import Evaluate, Quality, Salience
from tasks.params.fields import MisfitError, Positive, Section, Share
from tasks.params.method import Method, Training
from tasks.params.network import Network
from tasks.params.run import Run, Selection
from tasks.params.variant import FILTERED, CueConflict, Stylized, Stylizer, Variant

PARAMS = Path("params.yaml")

# What the prediction tables call images that no variant has changed, and the report its pictures.
_RESERVED = {
    "clean",
    "pgd_linf",
    "pgd_l2",
    "pgd_spatial",
    "auto_attack_linf",
    "auto_attack_l2",
    "learning",
    "shape_bias_by_class",
    "salience_outlines",
    "salience_gradient",
    "salience_smoothgrad",
    "salience_integrated_gradients",
    "salience_grad_cam",
}
# Of what is selected: names of folders, in the templates of dvc.yaml, whose commands a shell reads,
# and in the legends of figures, which leave out what begins with an underscore.
_NAME = re.compile(r"[^\W_][\w-]*")
# What `ray.storage` has to be.
_SHARED = "an absolute path that all nodes share, or s3://bucket/prefix"


def _storage(value: Any) -> Any:
    if isinstance(value, str) and not value.startswith("/") and "://" not in value:
        raise ValueError(f"{value!r} is not allowed; give {_SHARED}")
    return value


class Ray(Section):
    storage: Annotated[str | None, BeforeValidator(_storage)]
    gpu_share: Share
    cache: Positive


class Params(Section):
    run: Run
    paper: dict[str, Selection]
    dataset: dict[str, Dataset]
    method: dict[str, Method]
    training: Training
    network: dict[str, Network]
    stylizer: dict[str, Stylizer]
    variant: dict[str, Variant]
    evaluate: Evaluate
    quality: Quality
    salience: Salience
    ray: Ray

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        self._require_selectable("run", self.run)
        for seed in self.run.seeds:
            if self.run.seeds.count(seed) > 1:
                raise MisfitError(f"run.seeds: {seed} is named twice")
        for name in _RESERVED.intersection(self.variant):
            raise MisfitError(
                f"variant.{name}: the name is taken by the predictions or a picture of the report; "
                "choose another"
            )
        for name in self.network:
            if name in self.method:
                raise MisfitError(f"network.{name}: a method has this name; choose another")
        return self

    def _require_selectable(self, section: str, selection: Selection) -> None:
        catalogues: list[tuple[str, list[str], dict[str, Any]]] = [
            ("datasets", selection.datasets, self.dataset),
            ("methods", selection.methods, self.method),
            ("controls", selection.controls, self.method),
            ("networks", selection.networks, self.network),
            ("variants", selection.variants, self.variant),
            ("transferred", selection.transferred, self.variant),
            ("stylizers", selection.stylizers, self.stylizer),
        ]
        for key, names, catalogue in catalogues:
            for name in names:
                if not _NAME.fullmatch(name):
                    raise MisfitError(
                        f"{section}.{key}: {name!r} is not allowed; names of what is selected "
                        "have letters, digits, _ and - alone, and begin with a letter or digit"
                    )
                if name not in catalogue:
                    allowed = ", ".join(catalogue)
                    raise MisfitError(f"{section}.{key}: {name!r} is unknown; allowed: {allowed}")
                if names.count(name) > 1:
                    raise MisfitError(f"{section}.{key}: {name!r} is named twice")
        for name in selection.methods:
            if self.method[name].stop_at is not None:
                raise MisfitError(
                    f"{section}.methods: {name!r} has stop_at; name it in {section}.controls"
                )
        for name in selection.controls:
            reference = self.method[name].stop_at
            if reference not in selection.methods:
                raise MisfitError(
                    f"method.{name}.stop_at: {reference!r} is not allowed; "
                    f"name one of {section}.methods ({', '.join(selection.methods)}), or take "
                    f"{name} out of {section}.controls"
                )
            if "underfit" in self.method and reference != self.method["underfit"].stop_at:
                # Which dvc.yaml makes every control depend on.
                raise MisfitError(
                    f"method.{name}.stop_at: {reference!r} is not allowed; all controls stop at "
                    f"one method, that of method.underfit.stop_at "
                    f"({self.method['underfit'].stop_at})"
                )

    @model_validator(mode="after")
    def _attacks_fit(self) -> Self:
        self._require_fitting_attacks(self.run)
        self._require_feature_maps(self.run)
        return self

    def _require_feature_maps(self, selection: Selection) -> None:
        if "grad_cam" not in self.salience.measured:
            return
        architectures = {
            f"network.{name}": self.network[name].architecture for name in selection.networks
        }
        if selection.methods:
            for name in selection.datasets:
                training = self.dataset[name].training
                architectures[f"dataset.{name}.training"] = training.architecture
        for key, architecture in architectures.items():
            if architecture is not None and not has_feature_maps(architecture):
                raise MisfitError(
                    f"salience.measured.grad_cam: not allowed for architecture {architecture!r} "
                    f"({key}), which averages no feature maps; remove the key"
                )

    def _require_fitting_attacks(self, selection: Selection) -> None:
        """Hold all attacks against the datasets whose images they are to change."""
        for name in selection.datasets:
            side, steps = self.dataset[name].image_size, self.dataset[name].training.attack_steps
            for method in selection.methods:
                key, attack = f"method.{method}.attack", self.method[method].attack
                if attack is None:
                    continue
                require_possible(f"{key}.eps", attack.norm, attack.eps, attack.at or side)
                if isinstance(attack, PgdAttack):
                    given = f"{steps} steps (dataset.{name}.training.attack_steps)"
                    require_reach(f"{key}.step_size", attack.step_size, steps, attack.eps, given)
            for key, tests in self.evaluate.attacks.items():
                for place, test in enumerate(tests):
                    require_possible(f"evaluate.{key}.{place}.eps", test.norm, test.eps, side)

    @model_validator(mode="after")
    def _transfers_exist(self) -> Self:
        for name in self.variant:
            transfer = self.transfer(name)
            if transfer is not None and transfer not in self.stylizer:
                allowed = ", ".join((FILTERED, *self.stylizer))
                raise MisfitError(
                    f"variant.{name}.transfer: {transfer!r} is unknown; allowed: {allowed}"
                )
        return self

    @model_validator(mode="after")
    def _variants_have_their_stylizers(self) -> Self:
        for name in self.run.variants:
            transfer = self.transfer(name)
            if transfer is not None:
                raise MisfitError(
                    f"run.variants: {name!r} needs the stylizer {transfer!r}; "
                    "name it in run.transferred"
                )
        for name in self.run.transferred:
            transfer = self.transfer(name)
            if transfer is None:
                raise MisfitError(
                    f"run.transferred: {name!r} needs no stylizer; name it in run.variants"
                )
            if transfer not in self.run.stylizers:
                raise MisfitError(
                    f"run.stylizers: variant.{name} transfers by {transfer!r}, which is not named"
                )
        return self

    @model_validator(mode="after")
    def _workers_share_a_storage(self) -> Self:
        for name, method in self.method.items():
            if (method.workers or 1) > 1 and self.ray.storage is None:
                raise MisfitError(
                    f"ray.storage: null is not allowed while method.{name}.workers is "
                    f"{method.workers}; give {_SHARED}"
                )
        return self

    @property
    def variant_levels(self) -> list[tuple[str, float]]:
        """(variant, level) of every selected variant at every level, in rising order of levels."""
        return [
            (name, level)
            for name in self.run.all_variants
            for level in sorted(self.variant[name].levels)
        ]

    @property
    def threads(self) -> int:
        """The most CPU threads that a training of the selected datasets wants."""
        return max(self.dataset[name].training.threads for name in self.run.datasets)

    @property
    def model(self) -> dict[str, Method | Network]:
        """Everything whose answers can be compared, by name."""
        return {**self.method, **self.network}

    def transfer(self, variant: str) -> str | None:
        """The stylizer that a variant needs, if any."""
        chosen = self.variant[variant]
        if isinstance(chosen, Stylized | CueConflict) and chosen.transfer != FILTERED:
            return chosen.transfer
        return None

    def of_paper(self, name: str) -> Self:
        """The same with the selection that `paper` has under a name.

        Raises:
            UserError: there is none, or it names something unknown.
        """
        self.require(paper=name)
        try:
            self._require_selectable(f"paper.{name}", self.paper[name])
            self._require_fitting_attacks(self.paper[name])
            self._require_feature_maps(self.paper[name])
        except MisfitError as error:
            raise UserError(f"{PARAMS}: {error}") from error
        run = self.run.model_copy(update=dict(self.paper[name]))
        return self.model_copy(update={"run": run})

    def require(self, **names: str) -> None:
        """Check names from the command line against the catalogues, as in `dataset="shapes"`.

        Raises:
            UserError: says which name is unknown and which ones are allowed.
        """
        for key, name in names.items():
            catalogue = getattr(self, key)
            if name not in catalogue:
                raise UserError(f"{key}: {name!r} is unknown; allowed: {', '.join(catalogue)}")
