"""From the bytes of an encoded image to pixels of one size and kind."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from atcore.base.mistaken import mistaken

# Bytes that tell what a file is.
_START = 1024


class UnreadableImageError(Exception):
    """Bytes that are no image, or only a part of one; the message is one line, names it first."""


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("integer pixels outside of 16 bit have no defined range")
    return Image.fromarray(np.rint(values * 255 / 65535).astype(np.uint8))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range")
    if image.mode.startswith("I"):
        # Pillow's own conversion clips at 255 instead of scaling.
        image = _eight_bit(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _centre(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BICUBIC, box)


def _fit(image: Image.Image, size: int, centre: int) -> Image.Image:
    square, margin = _centre(image, centre), (centre - size) // 2
    return square.crop((margin, margin, margin + size, margin + size))


def _upright(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return _rgb(ImageOps.exif_transpose(image))


@contextmanager
def _named(name: str, data: bytes) -> Iterator[None]:
    """Of the block, which decodes an image, Pillow's errors become one line that names it."""
    try:
        yield
    except UnidentifiedImageError as error:
        reason = mistaken(data[:_START]) or "not an image"
        raise UnreadableImageError(f"{name}: {reason}") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes.
        reason = " ".join(str(error).split())
        if "truncated" in reason.lower():
            reason = f"truncated, it ends after {len(data):,} bytes"
        raise UnreadableImageError(f"{name}: {reason}") from error


def decode(data: bytes, size: int, name: str, centre: int | None = None) -> NDArray[np.uint8]:
    """Decode one image in any format Pillow knows.

    The EXIF orientation is applied. Grey becomes three equal channels; 16-bit grey is scaled
    (v * 255 / 65535, rounded, never clipped); palettes and CMYK become RGB; whatever is transparent
    is laid on white. Of an animation the first frame counts. The centre square is resized bicubic,
    antialiased: the shorter side becomes `centre`, what the longer one has more is cropped at both
    ends; of that the middle is taken. A square of `centre` pixels a side keeps its pixels.

    Args:
        name: how error messages call the image.
        centre: side in pixels, at least `size`; None: `size`.

    Returns:
        uint8, size x size x 3, RGB, 0 to 255.

    Raises:
        UnreadableImageError: the bytes are no image, are damaged or truncated, or have pixels
            without a defined range (floating point, more than 16 bit).
    """
    with _named(name, data):
        return np.array(_fit(_upright(data), size, centre or size))


@dataclass(frozen=True)
class Decoded:
    """The images of a shard, in its order.

    Attributes:
        images: uint8, N x size x size x 3; zeros where an image is unreadable.
        sizes: int32, N x 2, width and height of the upright originals; zeros likewise.
        problems: by position, why an image is unreadable; the message names it.
    """

    images: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    problems: dict[int, str]


def decode_shard(
    shard: Sequence[tuple[str, bytes]], size: int, centre: int | None = None
) -> Decoded:
    """Decode named images as `decode` does, going on after unreadable ones."""
    images = np.zeros((len(shard), size, size, 3), np.uint8)
    sizes = np.zeros((len(shard), 2), np.int32)
    problems = {}
    for position, (name, data) in enumerate(shard):
        try:
            with _named(name, data):
                upright = _upright(data)
                images[position] = np.asarray(_fit(upright, size, centre or size))
                sizes[position] = upright.size
        except UnreadableImageError as error:
            problems[position] = str(error)
    return Decoded(images, sizes, problems)
