"""What a network is made of, described without torch: stages pass it on that never build one."""

import json
from dataclasses import asdict, dataclass

from atcore.base.errors import UserError

# The files of a trained network's folder.
WEIGHTS, SPEC = "model.safetensors", "model.json"


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to rebuild a network around its weights.

    Attributes:
        architecture: a name that `models.build` knows.
        classes: class names, in the order of the labels.
        image_size: side of the square input in pixels.
        mean, std: per-channel statistics of the training pixels, scale [0, 1].
    """

    architecture: str
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> "ModelSpec":
        """The spec that `to_json` wrote.

        Raises:
            UserError: the text is none.
        """
        try:
            fields = json.loads(text)
            return ModelSpec(
                architecture=fields["architecture"],
                classes=tuple(fields["classes"]),
                image_size=fields["image_size"],
                mean=tuple(fields["mean"]),
                std=tuple(fields["std"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            names = ", ".join(ModelSpec.__dataclass_fields__)
            raise UserError(f"not the description of a model, which names {names}") from error
