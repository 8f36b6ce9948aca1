"""Raw images that tests write, and how they are read or refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from atcore.base.errors import UserError
from atcore.sources.entries import Source
from atcore.sources.formats import load


def fill(folder: Path, *files: str) -> None:
    """Write files that hold their own names."""
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))


def read_all(source: Source, split: str) -> list[bytes]:
    return list(source.read(split, np.arange(len(source.splits[split].names))))


def left_out(source: Source) -> dict[str, list[str]]:
    """What is there and is no image, by what it is."""
    return {what: list(names) for what, names in source.skipped.items() if names}


def rejects(format_name: str, folder: Path, message: str, label: str | None = None) -> str:
    """The folder is rejected in one line that starts with this message."""
    with pytest.raises(UserError) as caught:
        load(format_name, folder, label)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    return str(caught.value)
