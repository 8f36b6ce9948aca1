"""How long stages took, kept beside DVC's own temporary files: an estimate, never a result."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

_FILE = Path(".dvc", "tmp", "durations.json")


def _base(stage: str) -> str:
    """`train` of `train@shapes-standard`."""
    return stage.partition("@")[0]


class History:
    """Seconds that each stage's command took when it last ran in a workspace."""

    def __init__(self, root: Path) -> None:
        self._file = root / _FILE
        try:
            self._seconds: dict[str, float] = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            self._seconds = {}

    def record(self, stage: str, seconds: float) -> None:
        self._seconds[stage] = round(seconds, 3)
        half = self._file.with_suffix(".writing")
        half.write_text(json.dumps(self._seconds, indent=1, sort_keys=True))
        os.replace(half, self._file)

    def expected(self, stages: Iterable[str]) -> dict[str, float]:
        """Seconds for the stages that have run, or else the mean of those of the same kind."""
        known: dict[str, list[float]] = {}
        for stage, seconds in self._seconds.items():
            known.setdefault(_base(stage), []).append(seconds)
        return {
            stage: self._seconds.get(stage) or fmean(known[_base(stage)])
            for stage in stages
            if _base(stage) in known
        }
