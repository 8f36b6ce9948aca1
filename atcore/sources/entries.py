"""What all formats of raw images have in common."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atcore.base.errors import UserError
from atcore.base.mistaken import mistaken
from atcore.base.wording import some

# The project's own files in a folder of raw images.
_OURS = ("README.md", ".gitignore")
_HELP = "docs/data.md says what to put there"
# The format of files that hold, or name, many images each, by their ending in small letters.
FORMAT_OF = {
    ".parquet": "parquet",
    ".tar": "webdataset",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
}
# What has to be unpacked first, by its ending in small letters.
_PACKED = {".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
# Files beside images that say something of them, by ending or by name, in small letters.
_TEXT_ENDINGS = {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".yaml", ".yml", ".xml", ".pdf"}
_TEXT_NAMES = {"readme", "license", "licence", "copying", "citation", "authors", "notice"}
TEXTS = "texts beside the images"
# What operating systems, archives and storage devices leave beside one's files, in small letters.
_LEFT = {
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "lost+found",
    "system volume information",
}


@dataclass(frozen=True)
class Entries:
    """The images of one split, in an order that depends on nothing but the raw files.

    Attributes:
        place: where in the raw data they lie, in a user's words.
        names: N, how error messages call an image: its file, and its row where the file has many.
        labels: int32, N, indices into the class names.
    """

    place: str
    names: Sequence[str]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class Source:
    """Raw images: what there is, and a way to read it piece by piece.

    Attributes:
        classes: class names, without repetition.
        splits: `train`, and `validation` and `test` where the source has them of its own.
        read: `read(split, indices)` yields the encoded bytes of these entries of a split, int64,
            ascending; little more than one image is in memory at a time. Raises UserError where a
            file is damaged.
        skipped: names of what the format leaves out, by what they are, in a user's words.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Entries]
    read: Callable[[str, NDArray[np.int64]], Iterator[bytes]]
    skipped: Mapping[str, Sequence[str]] = field(default_factory=dict)


@cache
def _image_endings() -> frozenset[str]:
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(ending for ending, kind in known if kind in Image.OPEN)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is an image, going by its ending: of any format Pillow reads."""
    return Path(name).suffix.lower() in _image_endings()


def is_no_data(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left by systems."""
    return name.startswith((".", "~$")) or name.lower() in _LEFT


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _first_fault(name: str) -> str:
    """A name that is not UTF-8, up to the file or folder that is to blame."""
    parts = name.split("/")
    first = next(index for index, part in enumerate(parts) if not _is_utf8(part))
    return "/".join(parts[: first + 1])


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename}: {error.strerror}") from error


@dataclass(frozen=True)
class _Place:
    """A folder of raw data, and the names of what lies in it.

    Attributes:
        left: names of folders and files that are `is_no_data`.
    """

    path: Path
    folders: list[str]
    files: list[str]
    left: list[str]


def _places(folder: Path) -> Iterator[_Place]:
    """A folder, if it is there, and all in it, at any depth and through links, but no hidden ones.

    Raises:
        UserError: one cannot be read, or is a link to a folder around it.
    """
    if not folder.is_dir():
        return
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        place, left = Path(root), [name for name in (*folders, *files) if is_no_data(name)]
        folders[:] = sorted(name for name in folders if not is_no_data(name))
        for path in (place / name for name in folders):
            if path.is_symlink() and place.resolve().is_relative_to(path.resolve()):
                raise UserError(f"{path}: a link to a folder that it lies in; remove it")
        yield _Place(place, folders, [name for name in files if not is_no_data(name)], left)


def no_data(folder: Path) -> list[str]:
    """Names of files and folders, at any depth, that are hidden or that systems leave; not our own.

    What such folders hold is not named. Bytes that are not UTF-8 are written as their numbers.
    """
    found = (place.path / name for place in _places(folder) for name in place.left)
    return sorted(_printable(str(path)) for path in found if path.name not in _OURS)


def below(folder: Path) -> list[Path]:
    """Files in a folder, at any depth, that are neither `no_data` nor our own.

    Raises:
        UserError: something is no file, such as a link to nothing, or a folder cannot be read.
    """
    found = sorted(place.path / name for place in _places(folder) for name in place.files)
    for path in found:
        require_file(path)
    return [path for path in found if path.name not in _OURS]


def require_file(path: Path) -> None:
    """Check that what has this name is a file.

    Raises:
        UserError: it is something else, or a link to nothing.
    """
    if not path.is_file():
        dead = path.is_symlink() and not path.exists()
        raise UserError(f"{path}: {'a link to nothing' if dead else 'not a file'}; take it out")


def is_text(path: Path) -> bool:
    """Whether a file is none of the images, but says something of them."""
    name = path.name.lower()
    return (path.suffix.lower() in _TEXT_ENDINGS or name in _TEXT_NAMES) and path.is_file()


def names_below(folder: Path) -> Iterator[str]:
    """Everything in a folder, at any depth, that is not hidden."""
    for place in _places(folder):
        yield from (str(place.path / name) for name in (*place.folders, *place.files))


def links(folder: Path) -> list[str]:
    """Folders below this one that are symbolic links."""
    found = (place.path / name for place in _places(folder) for name in place.folders)
    return sorted(str(path) for path in found if path.is_symlink())


def require_utf8(names: Iterable[str], within: str = "") -> None:
    """Check that names of files and folders are UTF-8, as those who print and keep them need them.

    Args:
        within: what messages put before a name.

    Raises:
        UserError: some are not.
    """
    wrong = sorted({_first_fault(name) for name in names if not _is_utf8(name)})
    if wrong:
        meant = os.fsencode(wrong[0]).rpartition(b"/")[2].decode("latin-1")
        raise UserError(
            f"{within}{_printable(wrong[0])}: a name that is not UTF-8; there are "
            f"{len(wrong):,}; rename them, this one to {meant!r} perhaps"
        )


def listing(folder: Path) -> list[Path]:
    """Files and folders in a folder by name, without those that are `no_data`.

    Raises:
        UserError: there is no such folder or nothing in it, or it cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    try:
        found = sorted(path for path in folder.iterdir() if not is_no_data(path.name))
    except OSError as error:
        _refuse(error)
    if not found:
        raise UserError(f"{folder}: empty folder")
    return found


def contents(folder: Path) -> list[Path]:
    """The raw data in a dataset's folder: its listing without our own files.

    Raises:
        UserError: there is no such folder or no data in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {_HELP}")
    found = [path for path in listing(folder) if path.name not in _OURS]
    if not found:
        raise UserError(f"{folder}: no data in it; {_HELP}")
    return found


def format_hint(files: Iterable[Path]) -> str:
    """The end of a message that refuses these files: what to do with them, if one can tell."""
    names = [path.name for path in files]
    endings = {Path(name).suffix.lower() for name in names}
    formats = {name for ending, name in FORMAT_OF.items() if ending in endings}
    hint = ""
    if formats:
        hint += f"; for such files set the dataset's `format` to {' or '.join(sorted(formats))}"
    if packed := sorted(name for name in names if Path(name).suffix.lower() in _PACKED):
        hint += f"; unpack {some(packed)}"
    return hint


def file_bytes(path: Path) -> bytes:
    """What is in a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def pixmap(image: NDArray[np.uint8]) -> bytes:
    """An image, uint8, H x W x 3, encoded without compression, as a portable pixmap."""
    height, width, _ = image.shape
    return b"P6 %d %d 255\n%b" % (width, height, image.tobytes())


def require_downloaded(path: Path) -> None:
    """Check that an archive is nothing that servers or Git leave in its place.

    Raises:
        UserError: it is, such as an error page.
    """
    with path.open("rb") as file:
        if what := mistaken(file.read(1024)):
            raise UserError(f"{path}: {what}")
