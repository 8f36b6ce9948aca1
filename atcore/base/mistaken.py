"""What files are that have the name of something else, in a user's words."""

# The kinds of ISO media files that phones write for photographs.
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def is_web_page(start: bytes) -> bool:
    """Whether a file that starts so is HTML: what servers send instead of a file they lack."""
    return start.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def mistaken(start: bytes) -> str | None:
    """What a file is that starts so, and what to do, where it is often taken for an image."""
    if not start:
        return "empty"
    if is_web_page(start):
        return "a web page (HTML); download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS; fetch the file with `git lfs pull`"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIC:
        return "HEIC; convert it to JPEG"
    return None
