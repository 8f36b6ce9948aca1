"""From the bytes of an encoded image to pixels of one size and kind."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from atcore.base.mistaken import mistaken

# Bytes that tell what a file is.
_START = 1024
# Times the wanted side: what is larger is averaged before it is resized, which cannot be seen.
_ENOUGH = 3
# Pixels, of 4 bytes, that an image may take as it is decoded, and those converted at a time.
_MOST = 2**27
_BAND = 2**22

# How files of these formats start, after as many bytes.
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
)
# What Pillow multiplies greys of so few bits by, but not the one that a PNG calls transparent.
_GREYS = {"L;2": 85, "L;4": 17}
# What turns pixels upright that lie as EXIF says, where they do not already.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Our limit is on what is decoded, Pillow's on what is in the file.
Image.MAX_IMAGE_PIXELS = None


class UnreadableImageError(Exception):
    """Bytes that are no image, or only a part of one; the message is one line, names it first."""


class _RefusedError(Exception):
    """An image, undamaged, that is not read; the message says why."""


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise _RefusedError("integer pixels outside of 16 bit have no defined range")
    grey = Image.fromarray(np.rint(values * 255 / 65535).astype(np.uint8))
    if "transparency" in image.info:
        opaque = values != image.info["transparency"]
        grey.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    return grey


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise _RefusedError("floating-point pixels have no defined range")
    if image.mode.startswith("I"):
        # Pillow's own conversion clips at 255 instead of scaling.
        image = _eight_bit(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _scale_transparent_grey(image: ImageFile.ImageFile) -> None:
    """Make it one of the greys that the image, open and not yet decoded, will have."""
    factor = _GREYS.get(str(image.tile[0].args)) if image.format == "PNG" and image.tile else None
    if factor and "transparency" in image.info:
        image.info["transparency"] *= factor


def _averaged(image: Image.Image, factor: int) -> Image.Image:
    """Squares of `factor` pixels a side become one of RGB, in bands, as conversions take copies."""
    width, height = image.size
    if factor == 1 and width * height <= _BAND:
        return _rgb(image)
    averaged = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = factor * max(1, _BAND // (width * factor))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        averaged.paste(_rgb(band).reduce(factor), (0, top // factor))
    return averaged


def _square(image: Image.Image, extent: tuple[float, float], side: int) -> Image.Image:
    """The centre square of what the original covers of the image, which may be less than all."""
    if image.size == extent == (side, side):
        return image
    width, height = extent
    shorter = min(extent)
    left, top = (width - shorter) / 2, (height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return image.resize((side, side), Image.Resampling.BICUBIC, box)


def _orientation(image: Image.Image) -> int:
    """How the pixels lie: 1 to 8 as in EXIF; 1, upright, where that cannot be read."""
    image.load()  # Pillow turns a TIFF as it loads it, and takes the entry away.
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Damaged EXIF, of which Pillow raises nearly anything, harms no pixels.
        return 1
    return found if found in _TURNS else 1


def _decode(data: bytes, size: int, centre: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """What `decode` promises, and width and height of the upright original."""
    enough = _ENOUGH * centre
    with Image.open(io.BytesIO(data)) as image:
        _scale_transparent_grey(image)
        width, height = image.size
        # The decoder of JPEG leaves out what is not needed, but of a progressive one it keeps all.
        drafted = image.draft(image.mode, (enough, enough))
        extent = (width, height) if drafted is None else drafted[1][2:]
        decoded = (width, height) if "progressive" in image.info else image.size
        if decoded[0] * decoded[1] > _MOST:
            raise _RefusedError(
                f"{width:,} x {height:,} px; more than {_MOST / 1e6:.0f} megapixels are read only "
                "from JPEG that is not progressive; make it smaller"
            )
        factor = max(1, min(image.size) // enough)
        averaged = _averaged(image, factor)
        square = _square(averaged, (extent[0] / factor, extent[1] / factor), centre)
        orientation = _orientation(image)
        upright = square.transpose(_TURNS[orientation]) if orientation in _TURNS else square
    margin = (centre - size) // 2
    middle = upright.crop((margin, margin, margin + size, margin + size))
    return np.array(middle), (height, width) if orientation >= 5 else (width, height)


def _reason(data: bytes, error: Exception) -> str:
    """Why an image is unreadable, in a user's words where that can be told."""
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, _RefusedError):
        return said
    if what := mistaken(data[:_START]):
        return what
    if "truncated" in said.lower():
        return f"truncated, it ends after {len(data):,} bytes"
    unknown = isinstance(error, UnidentifiedImageError)
    for place, signature, kind in _SIGNATURES:
        if data.startswith(signature, place):
            details = "" if unknown else f" ({said})"
            return (
                f"{kind} of {len(data):,} bytes, but truncated, damaged or of an unusual kind"
                f"{details}"
            )
    return "not an image" if unknown else said


@contextmanager
def _named(name: str, data: bytes) -> Iterator[None]:
    """Of the block, which decodes an image, all errors become one line that names it."""
    try:
        yield
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes.
        raise UnreadableImageError(f"{name}: {_reason(data, error)}") from error


def decode(data: bytes, size: int, name: str, centre: int | None = None) -> NDArray[np.uint8]:
    """Decode one image in any format Pillow knows.

    The EXIF orientation is applied where it can be read. Grey becomes three equal channels; 16-bit
    grey is scaled (v * 255 / 65535, rounded, never clipped); palettes and CMYK become RGB; whatever
    is transparent is laid on white. Of an animation the first frame counts. The centre square is
    resized bicubic, antialiased: the shorter side becomes `centre`, what the longer one has more is
    cropped at both ends; of that the middle is taken. A square of `centre` pixels a side keeps its
    pixels. Where the shorter side is more than 6 times `centre`, squares of pixels are averaged
    first, by the decoder where the format is JPEG, so that the size of a photograph takes no
    memory.

    Args:
        name: how error messages call the image.
        centre: side in pixels, at least `size`; None: `size`.

    Returns:
        uint8, size x size x 3, RGB, 0 to 255.

    Raises:
        UnreadableImageError: the bytes are no image, are damaged or truncated, have pixels without
            a defined range (floating point, more than 16 bit), or more than fit into memory.
    """
    with _named(name, data):
        return _decode(data, size, centre or size)[0]


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
                images[position], sizes[position] = _decode(data, size, centre or size)
        except UnreadableImageError as error:
            problems[position] = str(error)
    return Decoded(images, sizes, problems)
