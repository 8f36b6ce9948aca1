"""`params.yaml`, read and checked: the only configuration of what is computed.

As a command, `python -m tasks.params` checks the file and computes nothing.
"""

import math
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from atcore.errors import UserError
from tasks import stage

PARAMS = Path("params.yaml")

# What the prediction tables call images that no variant has changed.
_RESERVED = {
    "clean",
    "pgd_linf",
    "pgd_l2",
    "pgd_spatial",
    "auto_attack_linf",
    "auto_attack_l2",
}
# Below, the stem of a ResNet-18 is not ImageNet's (atcore.models).
_SMALLEST_PRETRAINED = 64
# The transfer that needs no stylizer, and the encoder that is downloaded.
FILTERED, IMAGENET = "filtered", "imagenet"
_ENCODERS, _WEIGHTS = Path("raw/encoder"), (".safetensors", ".pth")
# What `ray.storage` has to be.
_SHARED = "an absolute path that all nodes share, or s3://bucket/prefix"


def _fraction(value: Any) -> Any:
    """Accept `8/255` beside plain numbers."""
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(
                f"{value!r} is not allowed; give a number or a fraction such as 8/255"
            ) from error
    return value


Number = Annotated[float, BeforeValidator(_fraction), Field(allow_inf_nan=False)]
NonNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
# A number of images, a share of those there are, or null for all.
Amount = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None
Norm = Literal["linf", "l2", "spatial"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, section: Any) -> Any:
        for key in section if isinstance(section, dict) else ():
            if key not in cls.model_fields:
                allowed = ", ".join(cls.model_fields)
                raise ValueError(f"{key!r} is an unknown key; allowed: {allowed}")
        return section


class Selection(_Section):
    datasets: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    controls: list[str]
    variants: list[str]
    transferred: list[str] = []
    stylizers: list[str] = []


class Run(Selection):
    seed: Annotated[int, Field(ge=0)]
    # Strict: they are names too, of stages and files, where 1.0 is not 1.
    seeds: list[Annotated[int, Field(ge=0, strict=True)]] = Field(min_length=1)

    @property
    def all_variants(self) -> list[str]:
        """Those that need a trained stylizer last, in the order of tables and figures."""
        return [*self.variants, *self.transferred]

    @property
    def models(self) -> list[str]:
        """Everything that is trained, in the order of tables and figures."""
        first, *rest = self.methods
        return [first, *self.controls, *rest]


class Images(_Section):
    train: Amount
    validation: Amount
    test: Amount


class DatasetTraining(_Section):
    architecture: Literal["small", "resnet18", "vgg"]
    weights: Literal["none", "imagenet"] = "none"
    epochs: Count
    batch_size: Count
    augment: Literal["none", "crop_flip"]
    attack_steps: Count
    precision: Literal["bf16", "fp32"]
    threads: Count


class Dataset(_Section):
    format: Literal["shapes", "parquet", "cifar10", "tiny_imagenet", "caltech256", "folder"]
    image_size: Annotated[int, Field(ge=8)]
    images: Images
    allow_unreadable: Annotated[int, Field(ge=0)]
    training: DatasetTraining


def _of_norm(norm: Norm, value: float, given: ValidationInfo) -> float:
    """A value that has a meaning for one norm alone."""
    found = given.data.get("norm", norm)
    if value and found != norm:
        raise ValueError(
            f"{value:g} is not allowed with norm {found}; leave it out, or give norm {norm}"
        )
    return value


class Threat(_Section):
    norm: Norm
    eps: NonNegative
    smoothness: Annotated[NonNegative, AfterValidator(partial(_of_norm, "spatial"))] = 0.0


class TrainingThreat(Threat):
    at: Annotated[Count, AfterValidator(partial(_of_norm, "l2"))] | None = None


class FgsmAttack(TrainingThreat):
    kind: Literal["fgsm"]
    step_size: Positive = 1.0
    random_start: bool = False


class PgdAttack(TrainingThreat):
    kind: Literal["pgd"]
    step_size: Positive


class FreeAttack(TrainingThreat):
    kind: Literal["free"]
    norm: Literal["linf", "l2"]
    replays: Count


class CrossEntropyLoss(_Section):
    kind: Literal["cross_entropy"]


class TradesLoss(_Section):
    kind: Literal["trades"]
    beta: NonNegative


class Method(_Section):
    learning_rate: Positive
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    attack: Annotated[FgsmAttack | PgdAttack | FreeAttack, Field(discriminator="kind")] | None = (
        None
    )
    loss: Annotated[CrossEntropyLoss | TradesLoss, Field(discriminator="kind")] = CrossEntropyLoss(
        kind="cross_entropy"
    )
    label_smoothing: Share = 0.0
    schedule: Literal["cosine", "piecewise", "constant"] = "cosine"
    ema: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    keep: Literal["last", "best_robust"] = "last"
    stop_at: str | None = None
    workers: Count = 1


class Training(_Section):
    attack_mode: Literal["eval", "train"]
    eps_warmup: Share
    validation_steps: Count


def _storage(value: Any) -> Any:
    if isinstance(value, str) and not value.startswith("/") and "://" not in value:
        raise ValueError(f"{value!r} is not allowed; give {_SHARED}")
    return value


class Ray(_Section):
    storage: Annotated[str | None, BeforeValidator(_storage)]


# The one folder of pictures that stages depend on in dvc.yaml.
Styles = Literal["raw/styles"] | None


def _encoder(value: Any) -> Any:
    """Stages depend on the folder of the files in dvc.yaml."""
    path = Path(value) if isinstance(value, str) else Path()
    if value != IMAGENET and (path.parent != _ENCODERS or path.suffix not in _WEIGHTS):
        allowed = " or ".join(f"{_ENCODERS}/NAME{suffix}" for suffix in _WEIGHTS)
        raise ValueError(f"{value!r} is not allowed; give {IMAGENET}, {allowed}")
    return value


class Stylizer(_Section):
    encoder: Annotated[str, BeforeValidator(_encoder)]
    styles: Styles
    size: Annotated[int, Field(ge=32)]
    steps: Count
    batch_size: Count
    learning_rate: Positive
    style_weight: NonNegative
    identity_weight: NonNegative
    precision: Literal["bf16", "fp32"]
    threads: Count


class Edges(_Section):
    kind: Literal["edges"]
    levels: list[NonNegative] = Field(min_length=1)


class _Transferring(_Section):
    levels: list[NonNegative] = Field(min_length=1)
    # `filtered`, or a name in the catalogue `stylizer`.
    transfer: str = FILTERED


class CueConflict(_Transferring):
    kind: Literal["cue_conflict"]


class Stylized(_Transferring):
    kind: Literal["stylized"]
    styles: Styles = None


class PositiveVariant(_Section):
    kind: Literal["saturated", "brightness", "low_pass", "high_pass"]
    levels: list[Positive] = Field(min_length=1)


class PatchShuffled(_Section):
    kind: Literal["patch_shuffled"]
    levels: list[Annotated[int, Field(ge=2)]] = Field(min_length=1)


Variant = Annotated[
    Stylized | CueConflict | Edges | PositiveVariant | PatchShuffled, Field(discriminator="kind")
]


class Robustness(Threat):
    step_size: Positive
    steps: Count


class AutoAttacked(_Section):
    images: Count
    norm: Literal["linf", "l2"]
    eps: Positive


class Evaluate(_Section):
    robustness: list[Robustness]
    auto_attack: list[AutoAttacked]
    shard: Count


class Quality(_Section):
    images: Annotated[int, Field(ge=100)]
    epochs: Count


class Salience(_Section):
    images: Count
    measured: dict[Literal["gradient", "smoothgrad", "integrated_gradients", "grad_cam"], Count] = (
        Field(min_length=1)
    )
    smooth_samples: Count
    smooth_noise: NonNegative
    integration_steps: Count


class Params(_Section):
    run: Run
    paper: dict[str, Selection]
    dataset: dict[str, Dataset]
    method: dict[str, Method]
    training: Training
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
                raise ValueError(f"run.seeds: {seed} is named twice")
        for name in _RESERVED.intersection(self.variant):
            raise ValueError(
                f"variant.{name}: the name is taken by the predictions; choose another"
            )
        return self

    def _require_selectable(self, section: str, selection: Selection) -> None:
        catalogues: list[tuple[str, list[str], dict[str, Any]]] = [
            ("datasets", selection.datasets, self.dataset),
            ("methods", selection.methods, self.method),
            ("controls", selection.controls, self.method),
            ("variants", selection.variants, self.variant),
            ("transferred", selection.transferred, self.variant),
            ("stylizers", selection.stylizers, self.stylizer),
        ]
        for key, names, catalogue in catalogues:
            for name in names:
                if name not in catalogue:
                    allowed = ", ".join(catalogue)
                    raise ValueError(f"{section}.{key}: {name!r} is unknown; allowed: {allowed}")
                if names.count(name) > 1:
                    raise ValueError(f"{section}.{key}: {name!r} is named twice")
        for name in selection.methods:
            if self.method[name].stop_at is not None:
                raise ValueError(
                    f"{section}.methods: {name!r} has stop_at; name it in {section}.controls"
                )
        for name in selection.controls:
            reference = self.method[name].stop_at
            if reference not in selection.methods:
                raise ValueError(
                    f"method.{name}.stop_at: {reference!r} is not allowed; "
                    f"name one of {section}.methods: {', '.join(selection.methods)}"
                )

    @model_validator(mode="after")
    def _transfers_exist(self) -> Self:
        for name, variant in self.variant.items():
            transfer = self.transfer(name)
            if transfer is not None and transfer not in self.stylizer:
                allowed = ", ".join((FILTERED, *self.stylizer))
                raise ValueError(
                    f"variant.{name}.transfer: {transfer!r} is unknown; allowed: {allowed}"
                )
            if transfer is not None and max(variant.levels) > 1:
                raise ValueError(
                    f"variant.{name}.levels: {max(variant.levels):g} is not allowed; a stylizer's "
                    "strength is 0 to 1"
                )
        return self

    @model_validator(mode="after")
    def _variants_have_their_stylizers(self) -> Self:
        for name in self.run.variants:
            transfer = self.transfer(name)
            if transfer is not None:
                raise ValueError(
                    f"run.variants: {name!r} needs the stylizer {transfer!r}; "
                    "name it in run.transferred"
                )
        for name in self.run.transferred:
            transfer = self.transfer(name)
            if transfer is None:
                raise ValueError(
                    f"run.transferred: {name!r} needs no stylizer; name it in run.variants"
                )
            if transfer not in self.run.stylizers:
                raise ValueError(
                    f"run.stylizers: variant.{name} transfers by {transfer!r}, which is not named"
                )
        return self

    @model_validator(mode="after")
    def _methods_fit_together(self) -> Self:
        for name, method in self.method.items():
            if method.keep == "best_robust" and (method.attack is None or method.stop_at):
                raise ValueError(
                    f"method.{name}.keep: 'best_robust' is not allowed without an attack or with "
                    "stop_at; give 'last'"
                )
            if method.loss.kind == "trades" and not isinstance(method.attack, PgdAttack):
                raise ValueError(
                    f"method.{name}.loss: 'trades' is not allowed without an attack of kind pgd"
                )
            if method.workers > 1 and self.ray.storage is None:
                raise ValueError(
                    f"ray.storage: null is not allowed while method.{name}.workers is "
                    f"{method.workers}; give {_SHARED}"
                )
        return self

    @model_validator(mode="after")
    def _shown_are_measured(self) -> Self:
        shown = self.salience.images
        for kind, count in self.salience.measured.items():
            if count < shown:
                raise ValueError(
                    f"salience.measured.{kind}: {count} is not allowed while salience.images is "
                    f"{shown}; give {shown} or more"
                )
        return self

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        for name, dataset in self.dataset.items():
            if dataset.training.weights == "none":
                continue
            key = f"dataset.{name}.training.weights: {dataset.training.weights!r} is not allowed"
            if dataset.training.architecture != "resnet18":
                raise ValueError(
                    f"{key} for architecture {dataset.training.architecture!r}; "
                    "give 'none', or architecture resnet18"
                )
            if dataset.image_size < _SMALLEST_PRETRAINED:
                raise ValueError(
                    f"{key} for images of {dataset.image_size} px; "
                    f"give 'none', or an image_size of at least {_SMALLEST_PRETRAINED}"
                )
        return self

    @model_validator(mode="after")
    def _attacks_differ(self) -> Self:
        entries: list[tuple[str, str, float]] = [
            *(("robustness", attack.norm, attack.eps) for attack in self.evaluate.robustness),
            *(("auto_attack", attack.norm, attack.eps) for attack in self.evaluate.auto_attack),
        ]
        for key, norm, eps in entries:
            if entries.count((key, norm, eps)) > 1:
                raise ValueError(
                    f"evaluate.{key}: norm {norm} with eps {eps:g} is not allowed twice; "
                    "predictions are kept by norm and eps"
                )
        return self

    @property
    def variant_levels(self) -> list[tuple[str, float]]:
        """(variant, level) of every selected variant at every level, in the order of the file."""
        return [
            (name, level) for name in self.run.all_variants for level in self.variant[name].levels
        ]

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
        except ValueError as error:
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


def seed(text: str) -> int:
    """A seed from the command line.

    Raises:
        UserError: not a whole number of at least 0.
    """
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"seed: {text!r} is not allowed; give a whole number, 0 or greater")
    return int(text)


def _key(location: tuple[int | str, ...], document: Any) -> str:
    """The dotted key of an error, without the names pydantic gives the members of unions."""
    parts, place = [], document
    for part in location:
        if isinstance(place, dict) and part in place:
            place = place[part]
        elif isinstance(place, list) and isinstance(part, int):
            place = place[part] if part < len(place) else None
        elif not isinstance(place, dict) or part is not location[-1]:
            continue
        parts.append(str(part))
    return ".".join(parts)


def _first_problem(error: ValidationError, document: Any) -> str:
    problem = error.errors()[0]
    key = _key(problem["loc"], document)
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return f"{key}: {message}" if key else message
    if problem["type"] == "missing":
        return f"{key}: missing key"
    found = problem["input"]
    shown = "nan" if isinstance(found, float) and math.isnan(found) else repr(found)
    return f"{key}: {shown} is not allowed; {problem['msg'].lower()}"


def load(path: Path = PARAMS) -> Params:
    """Read and check the whole file, so that a mistake shows before anything is computed.

    Raises:
        UserError: names the file and the key, the value found and what is allowed.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run from the project's folder") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: holds no sections; it needs {', '.join(Params.model_fields)}")
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error, document)}") from error


if __name__ == "__main__":
    stage.run(load)
