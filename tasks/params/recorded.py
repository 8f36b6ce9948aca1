"""A stage computes with the parameters that `dvc.lock` will name for it, or fails.

DVC reads them when the stage has ended, the stage itself when it begins.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from atcore.base.errors import UserError
from tasks.params.document import PARAMS
from tasks.params.reading import read
from tasks.processes.holder import PARAMETERS

_GRAPH = Path("dvc.yaml")
_TEMPLATE = re.compile(r"\$\{([^}]+)\}")


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def recorded(stage: str, item: Mapping[str, str]) -> dict[str, Any]:
    """The parameters that `dvc.yaml` names for a stage, as the file has them now.

    Args:
        stage: its name in `dvc.yaml`.
        item: of its matrix.
    """
    document = read(PARAMS)
    known = {**document, "item": dict(item)}
    keys = yaml.load(_GRAPH.read_text("utf-8"), yaml.CSafeLoader)["stages"][stage].get("params", ())
    full = [_TEMPLATE.sub(lambda name: str(_at(known, name[1])), key) for key in keys]
    return {key: _at(document, key) for key in full}


@contextmanager
def staying(item: Mapping[str, str]) -> Iterator[None]:
    """Of the block, the command of a stage, let no recorded parameter change meanwhile.

    Raises:
        UserError: one did, so that the stage's outputs belong to neither value.
    """
    stage = os.environ.get("DVC_STAGE", "").partition("@")[0]
    if not stage or PARAMETERS in os.environ:
        # Nothing is recorded, or the run has parameters of its own that nobody else changes.
        yield
        return
    before = recorded(stage, item)
    yield
    for key, value in recorded(stage, item).items():
        if value != before[key]:
            raise UserError(
                f"{PARAMS}: {key} changed from {before[key]!r} to {value!r} while {stage} ran; "
                "its result belongs to neither and is not kept, run again"
            )
