"""How files that are not what they should be are refused, whatever reads them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from atcore.base.errors import UserError


def assert_refused(read: Callable[[Path], object], path: Path, *parts: str) -> None:
    """In one line, which begins with the file and has these parts in it."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message
