"""The file of a network among those in its folder, and what it may be instead."""

from pathlib import Path

from atcore.base.errors import UserError
from atcore.base.mistaken import mistaken
from atcore.base.wording import some
from atcore.foreign.given import Given

_PROGRAM = (".pt2",)
_WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt")


def find(given: Given) -> Path:
    """The one file of a network: a program without an architecture, else weights.

    Raises:
        UserError: there is none, or there are several.
    """
    endings = _PROGRAM if given.architecture is None else _WEIGHTS
    fitting = [given.folder / f"{given.name}{ending}" for ending in endings]
    there = [file for file in fitting if file.is_file()]
    if len(there) > 1:
        names = " and ".join(file.name for file in there)
        raise UserError(f"{there[0]}: {names} all fit network.{given.name}; keep one")
    if not there:
        others = sorted(file.name for file in given.folder.glob("*") if file.is_file())
        lies = some(others, 5) if others else "nothing"
        key = f"network.{given.name}.architecture"
        if given.architecture is None:
            wanted = f"a program of torch.export; for weights name their architecture in {key}"
        else:
            wanted = f"weights end in {', '.join(_WEIGHTS)}; for a program {key} is null"
        raise UserError(f"{fitting[0]}: no such file ({wanted}); in the folder lies {lies}")
    return there[0]


def content(file: Path) -> bytes:
    """What is in a file that the user names or has put there.

    Raises:
        UserError: it is missing, or is empty, a pointer of Git LFS or a web page.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    wrong = mistaken(data[:512])
    if wrong is not None:
        raise UserError(f"{file}: is {wrong}")
    return data
