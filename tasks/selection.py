"""Stage `selection`: the workspace without what is no longer selected.

DVC has no name for "what `run` selects" but the folder in which it lies. So results that an earlier
selection has left would change what evaluate, salience and report depend on; they go, as they do
with `dvc checkout`. DVC's cache keeps them, and selecting them again brings them back. What it does
not have, or what somebody has changed, stays. Networks stay too: no stage depends on their whole
folder. Folders of which nothing is selected are made, as stages depend on them all the same.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from atcore.base.files import write_text
from atcore.base.wording import some
from tasks import params
from tasks.params import Params
from tasks.workspace import paths

_LOCK = Path("dvc.lock")
# What stages depend on by its folder.
_FOLDERS = ("data", "stylizers", "variants", "quality", "curves", "predictions", "salience")
# Written for those stages to wait for, and always the same, so that it makes none of them stale.
_DONE = "What is not selected has left the workspace.\n"


def _selected(settings: Params) -> Iterator[Path]:
    """The outputs in those folders that belong there."""
    run = settings.run
    for dataset in run.datasets:
        yield paths.dataset_info(dataset).parent
        yield from (paths.stylizer(dataset, name) for name in run.stylizers)
        for variant in run.all_variants:
            yield paths.variant(dataset, variant)
            yield paths.quality(dataset, variant)
        for method, seed in run.each:
            yield paths.curve(dataset, method, seed)
            yield paths.training(dataset, method, seed)
            yield paths.predictions(dataset, method, seed)
            yield paths.salience(dataset, method, seed)


def _recorded() -> dict[Path, dict[str, Any]]:
    """The outputs that DVC has recorded, of this selection and of earlier ones."""
    if not _LOCK.exists():
        return {}
    lock = yaml.load(_LOCK.read_text("utf-8"), yaml.CSafeLoader)
    outs = [out for entry in lock["stages"].values() for out in entry.get("outs", ())]
    return {Path(out["path"]): out for out in outs}


def _in_cache(recorded: Mapping[Path, dict[str, Any]]) -> set[Path]:
    """Those of them that DVC's cache can bring back as they are."""
    if not recorded:
        return set()
    # A second, which selections that leave nothing save.
    from dvc.output import Output  # noqa: PLC0415
    from dvc.repo import Repo  # noqa: PLC0415
    from dvc.stage import PipelineStage  # noqa: PLC0415

    stage_of_none = PipelineStage(Repo(), "dvc.yaml", name="selection")
    found = set()
    for path, entry in recorded.items():
        info = {key: value for key, value in entry.items() if key != "path"}
        out = Output(stage_of_none, str(path), info=info, hash_name=entry.get("hash", "md5"))
        if not out.changed_cache() and not out.changed_checksum():
            found.add(path)
    return found


def main() -> None:
    settings = params.load()
    selected = set(_selected(settings))
    others = {
        path: entry
        for path, entry in _recorded().items()
        if path.parts[0] in _FOLDERS and path.exists() and path not in selected
    }
    left = _in_cache(others)
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for names, what in (
        (left, "not selected any more, and in DVC's cache alone"),
        (others.keys() - left, "not selected, but kept, as DVC's cache cannot bring them back"),
    ):
        if names:
            print(f"{what}: {some(sorted(map(str, names)))}")
    for dataset in settings.run.datasets:
        for of_one in (paths.variant(dataset, "any"), paths.quality(dataset, "any")):
            of_one.parent.mkdir(parents=True, exist_ok=True)
    write_text(paths.SELECTION, _DONE)
