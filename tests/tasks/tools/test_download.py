"""Downloads against a real HTTP server on this machine."""

import hashlib
import importlib.util
import os
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from pipeline_workspace import wait_until

from atcore.base.errors import UserError
from tasks.tools.download import ARCHIVES, Archive, download, main

DATA = np.random.default_rng(0).bytes(3_000_000)
HALF = len(DATA) // 2
NAME = "images.tar.gz"
PROJECT = Path(__file__).parents[3]


@dataclass
class Site:
    """What the server offers and how it behaves, and what it has been asked for.

    Attributes:
        ranges: understand the header Range.
        status: answer with this instead of 200.
        cuts: after how many bytes the next answers break off.
        held: while not set, the second half of an answer is kept back.
        sent: bytes sent by each answer.
    """

    url: str = ""
    data: bytes = DATA
    ranges: bool = True
    status: int = 200
    cuts: list[int] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    sent: list[int] = field(default_factory=list)

    def archive(self, data: bytes = DATA) -> Archive:
        md5 = hashlib.md5(data).hexdigest()
        return Archive(f"{self.url}/{NAME}", md5, len(data), classes=2, images={"train": 2})


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()
    site.held.set()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            first = int(asked[1]) if asked and site.ranges else 0
            if first >= len(site.data):
                site.sent.append(0)
                self.send_error(416)
                return
            body = site.data[first:]
            self.send_response(206 if first else site.status)
            self.send_header("Content-Length", str(len(body)))
            if first:
                end = len(site.data)
                self.send_header("Content-Range", f"bytes {first}-{end - 1}/{end}")
            kept = body[: site.cuts.pop(0)] if site.cuts else body
            site.sent.append(len(kept))
            self.end_headers()
            self.wfile.write(kept[:HALF])
            site.held.wait()
            self.wfile.write(kept[HALF:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # of clients we kill
    site.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ATCNN_MIRROR", raising=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.held.set()
    server.shutdown()
    thread.join()
    server.server_close()


def fails(archive: Archive, folder: Path) -> str:
    """The one line that a download ends in; nothing has the archive's name."""
    with pytest.raises(UserError) as caught:
        download(archive, folder, pause=0)
    assert "\n" not in str(caught.value)
    assert not (folder / archive.name).exists()
    return str(caught.value)


def complete(folder: Path) -> bool:
    """The archive lies in the folder and nothing else."""
    return [(p.name, p.read_bytes() == DATA) for p in folder.iterdir()] == [(NAME, True)]


def test_an_archive_is_fetched_once(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "x"
    assert download(site.archive(), folder) == folder / NAME
    assert complete(folder)
    download(site.archive(), folder)
    assert site.sent == [len(DATA)]


def start(site: Site, folder: Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from pathlib import Path; from tasks.tools.download import Archive, download; "
    )
    code += "download(Archive(*sys.argv[1:3], int(sys.argv[3]), 2, {}), Path(sys.argv[4]))"
    archive = site.archive()
    arguments = [archive.url, archive.md5, str(archive.size), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def test_a_killed_download_goes_on_with_what_is_missing(site: Site, tmp_path: Path) -> None:
    part = tmp_path / f"{NAME}.part"
    site.held.clear()
    with start(site, tmp_path) as process:
        # The client writes whole pieces of a megabyte.
        wait_until(lambda: part.exists() and part.stat().st_size >= 2**20, "the first half")
        process.kill()
    have = part.stat().st_size
    assert have < len(DATA)
    site.held.set()
    download(site.archive(), tmp_path)
    assert complete(tmp_path)
    assert site.sent == [len(DATA), len(DATA) - have]


def test_a_lost_connection_is_tried_again(site: Site, tmp_path: Path) -> None:
    site.cuts = [2 * 2**20, 0, 2**19]
    download(site.archive(), tmp_path, pause=0)
    assert complete(tmp_path)
    assert len(site.sent) == 4
    assert sum(site.sent) < len(DATA) + 2 * 2**20


def test_a_server_that_never_sends_anything_is_given_up(site: Site, tmp_path: Path) -> None:
    site.cuts = [0] * 20
    message = fails(site.archive(), tmp_path)
    assert message.startswith(f"{site.url}/{NAME}: given up after 6 tries (")
    assert message.endswith(
        f"0 of {len(DATA)} bytes are here, the next download goes on from there"
    )
    assert len(site.sent) == 6


def test_a_server_without_ranges_sends_everything_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    (tmp_path / f"{NAME}.part").write_bytes(DATA[:HALF])
    download(site.archive(), tmp_path)
    assert complete(tmp_path)
    assert site.sent == [len(DATA)]


def test_a_download_killed_before_its_last_step_transfers_nothing(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(DATA)
    download(site.archive(), tmp_path)
    assert complete(tmp_path)
    assert site.sent == [0]


def test_another_file_is_refused_with_both_sums(site: Site, tmp_path: Path) -> None:
    archive = site.archive()
    site.data = b"something else"
    message = fails(archive, tmp_path)
    assert message.startswith(
        f"{archive.url}: what it sent has md5 6c7ba9c5a141421e1c03cb9807c97c74"
    )
    assert f"not {archive.md5}" in message
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_is_recognised(site: Site, tmp_path: Path) -> None:
    site.data = b"\n<!DOCTYPE HTML><html><body>Please log in</body></html>"
    message = fails(site.archive(), tmp_path)
    assert message == f"{site.url}/{NAME}: sends a web page (HTML) instead of {NAME}"
    (tmp_path / NAME).write_bytes(site.data)
    with pytest.raises(UserError, match=rf"^{tmp_path}/{NAME}: a web page \(HTML\), not the arch"):
        download(site.archive(), tmp_path)


def test_a_file_of_the_archives_name_is_checked(site: Site, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(DATA[:100])
    with pytest.raises(
        UserError, match=rf"{NAME}: its md5 is [0-9a-f]{{32}}, not {'[0-9a-f]' * 32}"
    ):
        download(site.archive(), tmp_path)
    assert site.sent == []


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (503, 6)])
def test_a_refusal_ends_at_once_and_a_failure_is_tried_again(
    status: int, tries: int, site: Site, tmp_path: Path
) -> None:
    site.status = status
    message = fails(site.archive(), tmp_path)
    assert message.startswith(f"{site.url}/{NAME}: ")
    assert str(status) in message
    assert list(tmp_path.iterdir()) == []
    assert len(site.sent) == tries


def test_a_full_disk_is_named(site: Site, tmp_path: Path) -> None:
    """A limit on the size of files stops the writing like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, before[1]))
    try:
        message = fails(site.archive(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    part = tmp_path / f"{NAME}.part"
    assert message.startswith(f"{part}: File too large after ")
    assert part.stat().st_size <= HALF
    download(site.archive(), tmp_path)
    assert complete(tmp_path)


def test_a_disk_without_room_is_found_before(site: Site, tmp_path: Path) -> None:
    class Endless(bytes):
        def __len__(self) -> int:
            return 10**18

        def __getitem__(self, _: object) -> "Endless":  # type: ignore[override]
            return self

    site.data = Endless()
    assert "the disk is too full: 1000000000000000000 bytes are missing" in fails(
        site.archive(), tmp_path
    )


def test_a_mirror_takes_the_place_of_the_address(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = site.archive()
    monkeypatch.setenv("ATCNN_MIRROR", f"{site.url}/mirror/")
    assert archive.address == f"{site.url}/mirror/{NAME}"
    download(archive, tmp_path)
    assert complete(tmp_path)


def test_a_dataset_without_archive_is_refused() -> None:
    with pytest.raises(UserError, match=r"dataset: 'shapes' cannot be downloaded; allowed: cifar"):
        main("shapes")


@pytest.mark.parametrize(
    ("dataset", "file"), [("cifar10_archive", "cifar.py"), ("caltech256", "caltech.py")]
)
def test_addresses_and_sums_are_torchvisions(dataset: str, file: str) -> None:
    # Not imported, which would take seconds.
    (package,) = importlib.util.find_spec("torchvision").submodule_search_locations
    source = Path(package, "datasets", file).read_text()
    assert ARCHIVES[dataset].url in source
    assert ARCHIVES[dataset].md5 in source
