"""What files are that have the name of something else, in a user's words."""

import codecs
from collections.abc import Callable

# The kinds of ISO media files that phones write for photographs.
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
# How EPS starts; on Windows it may have a preview.
_EPS = (b"%!PS", b"\xc5\xd0\xd3\xc6")
# How web pages start, or pieces of them, and other answers of servers.
_PAGE = (
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<title",
    b"<meta",
    b"<script",
    b"<body",
    b"<!--",
    b"<?xml",
)
_SVG = (b"<svg", b"<!doctype svg", b"<!--", b"<?xml")


def _markup(start: bytes) -> bytes:
    return start.removeprefix(codecs.BOM_UTF8).lstrip().lower()


def _is_svg(start: bytes) -> bool:
    text = _markup(start)
    return text.startswith(_SVG) and b"<svg" in text and b"<html" not in text


def is_web_page(start: bytes) -> bool:
    """Whether a file that starts so is HTML: what servers send instead of a file they lack."""
    return _markup(start).startswith(_PAGE) and not _is_svg(start)


# What files are, and what to do, by how that is seen from their start.
_OTHERS: dict[str, Callable[[bytes], bool]] = {
    "empty": lambda start: not start,
    "a web page (HTML); download it again": is_web_page,
    "a pointer of Git LFS; fetch the file with `git lfs pull`": lambda start: start.startswith(
        b"version https://git-lfs"
    ),
    "SVG; convert it to PNG": _is_svg,
    "EPS; convert it to PNG": lambda start: start.startswith(_EPS),
    "HEIC; convert it to JPEG": lambda start: start[4:8] == b"ftyp" and start[8:12] in _HEIC,
}


def mistaken(start: bytes) -> str | None:
    """What a file is that starts so, and what to do, where it is often taken for an image."""
    return next((what for what, starts_so in _OTHERS.items() if starts_so(start)), None)
