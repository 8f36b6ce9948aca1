"""`python -m tasks.tools.download DATASET` fetches a public dataset's archive to `raw/<dataset>/`.

The archive is what `prepare` reads; nothing is unpacked. A download that was interrupted goes on
where it ended. `ATCNN_MIRROR` names another place, an address under which a file of the same name
lies: it cannot change any result, as the file is the original one or is refused.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from atcore.base.errors import UserError
from atcore.base.mistaken import is_web_page
from tasks.console import command
from tasks.console.progress import track
from tasks.workspace import paths

_MEGABYTE = 10**6
_CHUNK = 2**20
# To connect, and between two pieces of the answer.
_TIMEOUT = (15.0, 60.0)
# Tries in a row that bring nothing new.
_TRIES = 5
_TOO_BUSY = 429
_SERVERS_FAULT = 500


@dataclass(frozen=True)
class Archive:
    """A file on the web.

    Attributes:
        url: its address.
        md5: of the whole file, as hexadecimal digits.
        size: bytes.
        classes: number of classes in it.
        images: number of labelled images, by split.
    """

    url: str
    md5: str
    size: int
    classes: int
    images: Mapping[str, int]

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def address(self) -> str:
        """Where to get it: its own address, or that on the mirror."""
        mirror = os.environ.get("ATCNN_MIRROR")
        return f"{mirror.rstrip('/')}/{self.name}" if mirror else self.url


ARCHIVES = {
    # Address and sum: torchvision.datasets.CIFAR10.
    "cifar10_archive": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        size=170_498_071,
        classes=10,
        images={"train": 50_000, "test": 10_000},
    ),
    # Its authors publish no sum; this one is what avalanche-lib and others have checked it by.
    "tiny_imagenet": Archive(
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        md5="90528d7ca1a48142e341f4ef8d21d0de",
        size=248_100_043,
        classes=200,
        images={"train": 100_000, "test": 10_000},
    ),
    # Address and sum: torchvision.datasets.Caltech256.
    "caltech256": Archive(
        url="https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar",
        md5="67b4f42ca05d46448c6bb8ecd2220f6d",
        size=1_183_006_720,
        classes=257,
        images={"train": 30_607},
    ),
}


class _NothingMoreError(Exception):
    """The server has nothing behind the bytes that are here already."""


def _require_room(part: Path, missing: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise UserError(
            f"{part}: the disk is too full: {missing} bytes are missing, {free} bytes are free"
        )


def _answer(url: str, offset: int) -> requests.Response:
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    # Compressed on the way, bytes could not be counted.
    headers["Accept-Encoding"] = "identity"
    response = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    status = response.status_code
    if status == requests.codes.requested_range_not_satisfiable:
        raise _NothingMoreError
    if status == _TOO_BUSY or status >= _SERVERS_FAULT:
        raise requests.ConnectionError(f"{status} {response.reason}")
    if not response.ok:
        raise UserError(f"{url}: the server answers {status} {response.reason}")
    return response


def _append(url: str, part: Path, size: int) -> None:
    """Get what `part` lacks; whatever comes is in the file, however this ends.

    Raises:
        requests.RequestException: the connection failed or broke off.
    """
    offset = part.stat().st_size if part.exists() else 0
    with _answer(url, offset) as response:
        there = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        if response.status_code != requests.codes.partial_content or not there:
            offset = 0
        _require_room(part, int(response.headers.get("Content-Length", size - offset)))
        with (
            track(f"download {part.stem} (MB)", size // _MEGABYTE) as advance,
            part.open("ab" if offset else "wb") as file,
        ):
            shown = 0
            for chunk in response.iter_content(_CHUNK):
                if not offset and is_web_page(chunk):
                    raise UserError(f"{url}: sends a web page (HTML) instead of {part.stem}")
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as error:
                    raise UserError(
                        f"{part}: {error.strerror} after {offset} of {size} bytes; "
                        "the next download goes on from there"
                    ) from error
                offset += len(chunk)
                advance(offset // _MEGABYTE - shown, "")
                shown = offset // _MEGABYTE
            os.fsync(file.fileno())


def _get_all(url: str, part: Path, size: int, pause: float) -> None:
    vain, before = 0, -1
    while True:
        try:
            _append(url, part, size)
        except _NothingMoreError:
            return
        except requests.RequestException as error:
            reason = " ".join(str(error).split())[:200]
            have = part.stat().st_size if part.exists() else 0
            vain = 0 if have > before else vain + 1
            before = have
            if vain == _TRIES:
                raise UserError(
                    f"{url}: given up after {1 + _TRIES} tries ({reason}); "
                    f"{have} of {size} bytes are here, the next download goes on from there"
                ) from error
            print(f"{part.stem}: connection lost ({reason}); trying again", flush=True)
            time.sleep(pause * 2**vain)
        else:
            return


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_CHUNK)


def download(archive: Archive, folder: Path, *, pause: float = 1.0) -> Path:
    """Get an archive into a folder, unless it is there; its path.

    It is written to a file with `.part` added to its name, which the next call goes on from, and
    takes its own name when it is complete and its sum is right.

    Args:
        pause: seconds before a lost connection is tried again; doubled for each further time.

    Raises:
        UserError: the server refuses, sends a web page or something else, or is not reached; the
            disk is full; or another file has the archive's name.
    """
    target, url = folder / archive.name, archive.address
    if target.exists():
        if is_web_page(_start(target)):
            raise UserError(f"{target}: a web page (HTML), not the archive of {url}; remove it")
        found = _md5(target)
        if found != archive.md5:
            raise UserError(f"{target}: its md5 is {found}, not {archive.md5}; remove it")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    _get_all(url, part, archive.size, pause)
    found = _md5(part)
    if found != archive.md5:
        part.unlink()
        raise UserError(f"{url}: what it sent has md5 {found}, not {archive.md5}; removed")
    os.replace(part, target)
    return target


def main(dataset: str) -> None:
    """Fetch the archive of a dataset.

    Raises:
        UserError: the dataset is not one of those, or as `download`.
    """
    if dataset not in ARCHIVES:
        raise UserError(
            f"dataset: {dataset!r} cannot be downloaded; allowed: {', '.join(ARCHIVES)}"
        )
    print(f"{download(ARCHIVES[dataset], paths.RAW / dataset)}: complete, its md5 is right")


if __name__ == "__main__":
    command.run(main, "dataset")
