"""What a pickle would run if it were loaded, found without loading it."""

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator

# What tensors and their dictionaries are made of.
_PLAIN = re.compile(
    r"torch\._utils\._rebuild\w+|torch\.(\w*Storage|Size|device|[a-z]*\d+)|torch\._tensor\.\w+"
    r"|torch\.nn\.parameter\.\w+|torch\.storage\.\w+|collections\.\w+|_codecs\.encode"
)


def _pickles(data: bytes) -> Iterator[bytes]:
    if not zipfile.is_zipfile(io.BytesIO(data)):
        yield data
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith(".pkl"):
                yield archive.read(name)


def _named(pickle: bytes) -> Iterator[str]:
    """Every function and class that a pickle, or several one after the other, would import."""
    stream, strings = io.BytesIO(pickle), [""]
    while stream.tell() < len(pickle):
        for code, argument, _ in pickletools.genops(stream):
            if code.name in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".")
            elif code.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:])
            elif isinstance(argument, str):
                strings.append(argument)


def would_run(data: bytes) -> str | None:
    """The first function or class, other than those of tensors, that a pickle would import.

    Args:
        data: content of a file of `torch.save` or `pickle.dump`; None where it is neither.
    """
    try:
        for pickle in _pickles(data):
            for name in _named(pickle):
                if not _PLAIN.fullmatch(name):
                    return name
    except Exception:  # whatever pickletools and zipfile stumble over in what is no pickle
        return None
    return None
