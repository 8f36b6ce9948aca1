"""The table of what each variant keeps of its images, and its sentences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atcore.quality.results import Probe, Quality
from atcore.report import labels
from atcore.statistics.estimates import Estimate


@dataclass(frozen=True)
class Line:
    """One variant at one level; its cells are None where there is nothing to show."""

    label: str
    edges: Estimate | None
    probe: Probe | None

    @property
    def probed(self) -> tuple[Estimate | None, Estimate | None]:
        """Accuracy of the shape probe and of the texture probe."""
        return (None, None) if self.probe is None else (self.probe.shape, self.probe.texture)


@dataclass(frozen=True)
class Kept:
    """The table of one dataset: a line per variant and level, and what the probes say."""

    lines: tuple[Line, ...]
    sentences: tuple[str, ...]

    @property
    def probed(self) -> bool:
        return any(line.probe is not None for line in self.lines)


def _against_chance(found: Estimate, chance: float) -> str:
    if found.low > chance:
        return "above chance"
    return "below chance" if found.high < chance else "at chance"


def _sentence(label: str, probe: Probe) -> str:
    cues = [
        f"the {name} in {labels.percent(found.value)} {labels.interval(found)} of {found.n} "
        f"images, {_against_chance(found, probe.chance)}"
        for name, found in (("shape", probe.shape), ("texture", probe.texture))
    ]
    return (
        f"{label}: a network retrained on such images finds {cues[0]}, and {cues[1]} "
        f"({labels.percent(probe.chance)})."
    )


def kept(kinds: Mapping[str, str], qualities: Iterable[tuple[str, Quality]]) -> Kept:
    """The table of variants in the order given.

    Args:
        kinds: kind of each variant by its name.
        qualities: name of each variant, and what it keeps.
    """
    lines, sentences = [], []
    for name, quality in qualities:
        for level, edges in sorted(quality.edges.items()):
            label = labels.part(name, kinds[name], level)
            probe = quality.probe
            shown = probe if probe is not None and level == probe.level else None
            lines.append(Line(label, edges, shown))
            if shown is not None:
                sentences.append(_sentence(label, shown))
    return Kept(tuple(lines), tuple(sentences))
