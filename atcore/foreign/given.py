"""What a user says of a network that was trained elsewhere, and what was found; without torch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

# The architecture of networks that code of the user's builds, and what names of timm's begin with.
OWN, TIMM = "own", "timm/"


@dataclass(frozen=True)
class Given:
    """A network of the user's, as `network.NAME` of params.yaml describes it.

    Attributes:
        name: of the entry, and of the file without its ending.
        folder: where all the files lie.
        architecture: None for a program of `torch.export`; `own` for that of `NAME.py`; else a name
            of this project's, of torchvision's or, after `timm/`, of timm's.
        mean, std: what pixels are normalised with, per channel, scale [0, 1]; None where the
            network does that itself or its file has them.
        input_size: side in pixels that the network takes; None: that of the dataset.
        classes: file with the names of the outputs, one a line, in their order; None: those of the
            dataset, in order.
        groups: JSON file {class of the dataset: [names of outputs]}.
    """

    name: str
    folder: Path
    architecture: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    input_size: int | None = None
    classes: str | None = None
    groups: str | None = None


@dataclass(frozen=True)
class Facts:
    """What the report says of a network of the user's.

    Attributes:
        source: name of the file that it came from.
        architecture: as a reader knows it, such as `resnet18 (torchvision)`.
        parameters: how many numbers it has learned.
        remarks: sentences on what was found and done.
    """

    source: str
    architecture: str
    parameters: int
    remarks: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> "Facts":
        """What `to_json` wrote."""
        fields = json.loads(text)
        return Facts(**{**fields, "remarks": tuple(fields["remarks"])})
