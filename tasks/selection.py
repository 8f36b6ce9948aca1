"""Stage `selection`: the workspace without what is no longer selected.

DVC has no name for "what `run` selects" but the folder in which it lies. So results that an earlier
selection has left would change what evaluate, salience and report depend on; they go, as they do
with `dvc checkout`. DVC's cache keeps them, and selecting them again brings them back. Networks
stay: no stage depends on their whole folder.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from atcore.base.files import write_text
from atcore.base.wording import some
from tasks import params
from tasks.params import Params
from tasks.workspace import paths, stage

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
        for method in run.models:
            for seed in run.seeds:
                yield paths.curve(dataset, method, seed)
                yield paths.training(dataset, method, seed)
                yield paths.predictions(dataset, method, seed)
                yield paths.salience(dataset, method, seed)


def _known() -> Iterator[Path]:
    """The outputs that DVC has recorded, of this selection and of earlier ones."""
    if _LOCK.exists():
        lock = yaml.load(_LOCK.read_text("utf-8"), yaml.CSafeLoader)
        for entry in lock["stages"].values():
            yield from (Path(out["path"]) for out in entry.get("outs", ()))


def main() -> None:
    selected = set(_selected(params.load()))
    known = {path for path in _known() if path.parts[0] in _FOLDERS and path.exists()}
    left = sorted(known - selected)
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if left:
        print(f"not selected any more, and in DVC's cache alone: {some(list(map(str, left)))}")
    write_text(paths.SELECTION, _DONE)


if __name__ == "__main__":
    stage.run(main)
