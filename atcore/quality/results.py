"""What a variant keeps of its images: outlines, and what a network can still learn from it.

Numbers alone; they come from `atcore.quality.outlines` and `atcore.quality.probe`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from atcore.statistics.estimates import Estimate


@dataclass(frozen=True)
class Probe:
    """Accuracies of networks retrained on images of one level whose cues are independent.

    Attributes:
        level: of the variant.
        chance: accuracy of a guess.
        shape, texture: of the network that reads that cue, on images that it has not seen.
    """

    level: float
    chance: float
    shape: Estimate
    texture: Estimate


@dataclass(frozen=True)
class Quality:
    """What one variant keeps.

    Attributes:
        edges: edge agreement by level; None where no image has edges before and after.
        probe: at one level; None where cues cannot be drawn, or none is said to be destroyed.
    """

    edges: Mapping[float, Estimate | None]
    probe: Probe | None

    def to_json(self) -> str:
        found = {
            "edges": [
                {"level": level, "agreement": None if estimate is None else asdict(estimate)}
                for level, estimate in self.edges.items()
            ],
            "probe": None if self.probe is None else asdict(self.probe),
        }
        return json.dumps(found, indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> "Quality":
        found = json.loads(text)
        return Quality(
            edges={entry["level"]: _estimate(entry["agreement"]) for entry in found["edges"]},
            probe=None if found["probe"] is None else _probe(found["probe"]),
        )


def _estimate(fields: Mapping[str, Any] | None) -> Estimate | None:
    return None if fields is None else Estimate(**fields)


def _probe(fields: Mapping[str, Any]) -> Probe:
    return Probe(
        level=fields["level"],
        chance=fields["chance"],
        shape=Estimate(**fields["shape"]),
        texture=Estimate(**fields["texture"]),
    )
