"""What a network is made of, described without torch: stages pass it on that never build one."""

import json
from dataclasses import asdict, dataclass

from atcore.base.errors import UserError

# The description in a network's folder; its weights lie beside it, see `ModelSpec.weights_file`.
SPEC = "model.json"
# The architecture of networks that come as a whole: a program of `torch.export`, whose weights and
# normalisation are in it.
PROGRAM = "program"


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to rebuild a network around its weights.

    Attributes:
        architecture: a name that `models.build` knows, or `PROGRAM`.
        classes: class names, in the order of the labels.
        image_size: side of the square input in pixels.
        mean, std: per-channel statistics of the training pixels, scale [0, 1]; of a program, those
            of the dataset that it is asked about.
    """

    architecture: str
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def weights_file(self) -> str:
        """The name of the file beside the description that holds the weights."""
        return "model.pt2" if self.architecture == PROGRAM else "model.safetensors"

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
