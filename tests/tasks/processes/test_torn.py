"""Files that DVC writes in place, cut off at every byte, and DVC's own reading of what is left."""

import json
import os
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import pytest
from dvc.dvcfile import Lockfile
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import _edit_rwlock, rwlock
from dvc.stage.cache import RunCacheNotFoundError
from dvc.utils.serialize import dump_yaml
from dvc_data.hashfile.hash_info import HashInfo

from tasks.processes.torn import mend

STAGE: dict[str, Any] = {
    "cmd": "python -m tasks prepare shapes",
    "deps": [{"path": "atcore/images", "hash": "md5", "md5": "5" * 32 + ".dir", "size": 123}],
    "params": {"params.yaml": {"run.seed": 0, "dataset.shapes": {"format": "shapes"}}},
    "outs": [{"path": "data/ä", "hash": "md5", "md5": "7" * 32 + ".dir", "nfiles": 4}],
}
LOCK = {"schema": "2.0", "stages": {"prepare@shapes": STAGE, "train@shapes": deepcopy(STAGE)}}


@pytest.fixture
def repo(tmp_path: Path) -> Any:
    return Repo.init(str(tmp_path), no_scm=True)


def test_dvc_reads_what_is_left_of_its_lock_wherever_that_was_torn(
    repo: Any, tmp_path: Path
) -> None:
    file = tmp_path / "dvc.lock"
    dump_yaml(str(file), LOCK)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        if mend(tmp_path) is None:
            # Torn between two lines: what is left says nothing wrong.
            stages = Lockfile(repo, str(file)).load().get("stages", {})
            for stage, part in product(stages.values(), ("deps", "outs")):
                for entry in stage.get(part, []):
                    assert entry.items() <= STAGE[part][0].items()
        else:
            assert not file.exists()
    file.write_bytes(whole)
    assert mend(tmp_path) is None
    assert file.read_bytes() == whole


def test_a_torn_rwlock_is_removed_and_a_whole_one_stays(repo: Any, tmp_path: Path) -> None:
    file = Path(repo.tmp_dir, "rwlock")
    whole = json.dumps({"write": {str(tmp_path / "data"): {"pid": 1, "cmd": "dvc repro"}}})
    for length in range(len(whole)):
        file.write_text(whole[:length])
        assert mend(tmp_path) is None
        assert not file.exists()
    file.write_text(whole)
    mend(tmp_path)
    with _edit_rwlock(repo.tmp_dir, repo.fs, False) as lock:
        assert list(lock["write"]) == [str(tmp_path / "data")]


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_lost_process_whose_number_is_in_use_again_keeps_nobody_away(
    repo: Any, tmp_path: Path, mode: str
) -> None:
    file, data = Path(repo.tmp_dir, "rwlock"), str(tmp_path / "data")
    entry = {"pid": os.getpid(), "cmd": "flow run"}
    file.write_text(json.dumps({mode: {data: [entry] if mode == "read" else entry}}))
    mend(tmp_path)
    with (
        pytest.raises(LockError, match="flow run"),
        rwlock(repo.tmp_dir, repo.fs, "dvc repro", [], [data], False),
    ):
        pass
    before_this_process = psutil.Process().create_time() - 1
    os.utime(file, (before_this_process, before_this_process))
    mend(tmp_path)
    with rwlock(repo.tmp_dir, repo.fs, "dvc repro", [], [data], False):
        pass


def test_a_torn_entry_of_the_run_cache_is_as_good_as_none(
    repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("input").touch()
    stage = repo.run(name="copy", cmd="cp input output", deps=["input"], outs=["output"])
    (entry,) = (file for file in Path(repo.stage_cache.cache_dir).rglob("*") if file.is_file())
    entry.write_bytes(entry.read_bytes()[:30])
    Path("dvc.lock").unlink()
    for out in stage.outs:
        out.hash_info = HashInfo()
    for _ in range(2):
        # DVC removes what is torn, and is lost the next time without this.
        mend(tmp_path)
        with pytest.raises(RunCacheNotFoundError):
            repo.stage_cache.restore(stage)
    assert not entry.exists()


def test_a_folder_without_them_has_nothing_to_mend(repo: Any, tmp_path: Path) -> None:  # noqa: ARG001
    assert mend(tmp_path) is None
