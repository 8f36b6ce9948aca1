"""The section `dataset`: images, and how networks are trained on them."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from tasks.params.architectures import known
from tasks.params.fields import Count, Integer, MisfitError, Positive, Precision, Section

# Below, the stem of a ResNet-18 is not ImageNet's (atcore.networks.models).
_SMALLEST_PRETRAINED = 64

# Formats in which what holds the labels has a name.
_LABELLED = ("parquet", "webdataset", "csv")


def _amount(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Say once what is allowed, not what each member of the union says."""
    try:
        return check(value)
    except ValidationError as error:
        raise ValueError(
            f"{value!r} is not allowed; give a number of images, a share between 0 and 1, or null"
        ) from error


# A number of images, a share of those there are, or null for all.
Amount = Annotated[
    Annotated[Integer, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None,
    WrapValidator(_amount),
]


def _called(value: Any) -> Any:
    """Take a whole number as its text: columns of a table without a header are called by theirs."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Images(Section):
    train: Amount
    validation: Amount
    test: Amount


class DatasetTraining(Section):
    architecture: Annotated[str, AfterValidator(known)]
    weights: Literal["none", "imagenet"] | None = None
    epochs: Count
    batch_size: Count
    learning_rate_factor: Positive
    augment: Literal["none", "crop_flip"]
    attack_steps: Count
    precision: Precision
    threads: Count


class Dataset(Section):
    format: Literal[
        "shapes",
        "folder",
        "parquet",
        "webdataset",
        "csv",
        "arrow",
        "cifar10",
        "tiny_imagenet",
        "caltech256",
    ]
    label: Annotated[str | None, BeforeValidator(_called)]
    image_size: Annotated[Integer, Field(ge=8)]
    resize: Annotated[Integer, Field(ge=8)] | None
    images: Images
    allow_unreadable: Annotated[Integer, Field(ge=0)]
    training: DatasetTraining

    @model_validator(mode="after")
    def _label_is_used(self) -> Self:
        if self.label is not None and self.format not in _LABELLED:
            raise MisfitError(
                f"label: {self.label!r} is not allowed for format {self.format!r}, which has no "
                f"names for labels; give null, or format {' or '.join(_LABELLED)}"
            )
        return self

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.resize is None:
            return self
        if self.format == "shapes":
            raise MisfitError(f"resize: {self.resize} is not allowed; shapes are drawn, give null")
        if self.resize < self.image_size:
            raise MisfitError(
                f"resize: {self.resize} is not allowed for an image_size of {self.image_size}; "
                "give null, or no less than that"
            )
        if self.training.augment != "crop_flip":
            raise MisfitError(
                f"resize: {self.resize} is not allowed for augment {self.training.augment!r}, "
                "which crops no training image; give null, or augment crop_flip"
            )
        return self

    @model_validator(mode="after")
    def _squares_fit(self) -> Self:
        if self.training.architecture == "small" and self.image_size % 2:
            raise MisfitError(
                f"image_size: {self.image_size} is not allowed for architecture 'small', which "
                "begins with squares of 2 × 2 pixels; give an even number, or architecture resnet18"
            )
        return self

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        weights, architecture = self.training.weights, self.training.architecture
        if weights != "imagenet":
            return self
        if architecture != "resnet18":
            raise MisfitError(
                f"training.weights: {weights!r} is not allowed for architecture {architecture!r}; "
                "give 'none', or architecture resnet18"
            )
        if self.image_size < _SMALLEST_PRETRAINED:
            raise MisfitError(
                f"training.weights: {weights!r} is not allowed for images of {self.image_size} px; "
                f"give 'none', or an image_size of at least {_SMALLEST_PRETRAINED}"
            )
        return self
