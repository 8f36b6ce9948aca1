"""How long stages took, kept beside DVC's own temporary files: an estimate, never a result."""

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean

_FILE = Path(".dvc", "tmp", "durations.json")


def _families(stage: str) -> Iterator[str]:
    """What it belongs to: `train@shapes-standard-1`, `train@shapes-standard`, ..., `train`."""
    while stage:
        yield stage
        stage = stage[: max(stage.rfind("-"), stage.rfind("@"), 0)]


class History:
    """Seconds that each stage's command took when it last ran in a workspace."""

    def __init__(self, root: Path) -> None:
        # Stages end in threads of their own.
        self._turn = threading.Lock()
        self._file = root / _FILE
        try:
            self._seconds: dict[str, float] = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            self._seconds = {}

    def record(self, stage: str, seconds: float) -> None:
        """Keep it, for this run alone where the file cannot be written."""
        with self._turn, suppress(OSError):
            self._seconds[stage] = round(seconds, 3)
            half = self._file.with_suffix(".writing")
            try:
                half.write_text(json.dumps(self._seconds, indent=1, sort_keys=True))
                os.replace(half, self._file)
            finally:
                half.unlink(missing_ok=True)

    def expected(self, stages: Iterable[str]) -> dict[str, float]:
        """Seconds for the stages that have run, or else the mean of their nearest relatives.

        Those are the other seeds of a network, or else the other networks of the dataset, or else
        all stages of the kind.
        """
        known: dict[str, list[float]] = {}
        for stage, seconds in self._seconds.items():
            for family in _families(stage):
                known.setdefault(family, []).append(seconds)
        nearest = {
            stage: next((family for family in _families(stage) if family in known), None)
            for stage in stages
        }
        return {stage: fmean(known[family]) for stage, family in nearest.items() if family}
