"""What counts as a full disk, and what the user is told of it."""

import errno
import os
from pathlib import Path

import pytest
from ray._common.utils import get_default_ray_temp_dir

from tasks.processes import disk


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "told in other words"), True),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), True),
        # As safetensors, and Ray's nodes, pass it on.
        (ValueError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), False),
        (ValueError("28"), False),
        (None, False),
    ],
    ids=repr,
)
def test_a_full_disk_is_known_by_its_number_or_by_the_systems_words(
    error: Exception | None, full: bool
) -> None:
    assert disk.is_full(error) is full


def test_the_file_that_was_being_written_is_named(tmp_path: Path) -> None:
    assert disk.line(disk.full(tmp_path)).startswith(f"{tmp_path}: no space left on the device;")
    copying = OSError(errno.ENOSPC, "full", "source", None, "copy")
    assert disk.line(copying).startswith("copy: ")


@pytest.mark.parametrize("ray", ["/of_ray", "", None])
@pytest.mark.parametrize("users", ["/of_user", "", None])
def test_rays_folder_is_where_ray_says(
    ray: str | None, users: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in (("RAY_TMPDIR", ray), ("TMPDIR", users)):
        if folder is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, folder)
    assert disk.rays_folder() == Path(get_default_ray_temp_dir())
