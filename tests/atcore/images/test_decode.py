import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image, PngImagePlugin
from torchvision import transforms

from atcore.images.decode import UnreadableImageError, decode, decode_shard


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def landscape(width: int, height: int) -> Image.Image:
    """Edges, surfaces and fine texture, all of which an enlarged photograph would lack."""
    rng = np.random.default_rng(2)
    image = Image.fromarray(rng.integers(0, 256, (9, 16, 3), np.uint8))
    pixels = np.array(image.resize((width, height), Image.Resampling.NEAREST), np.int64)
    pixels += rng.integers(-40, 41, (height, width, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def solid(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (8, 8), colour)


def test_an_image_of_the_wanted_size_keeps_its_pixels() -> None:
    pixels = noise(8, 8)
    decoded = decode(encode(Image.fromarray(pixels)), 8, "x")
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, pixels)


def test_the_middle_of_a_larger_centre_square_is_taken() -> None:
    pixels = noise(12, 20)
    decoded = decode(encode(Image.fromarray(pixels)), 8, "x", centre=12)
    assert np.array_equal(decoded, pixels[2:10, 6:14])


@pytest.mark.parametrize("shape", [(300, 340), (256, 256), (511, 300)])
def test_the_paper_s_preprocessing_is_that_of_torchvision(shape: tuple[int, int]) -> None:
    small = np.random.default_rng(1).integers(0, 256, (9, 9, 3), np.uint8)
    image = Image.fromarray(small).resize(shape, Image.Resampling.BICUBIC)
    resize = transforms.Resize(256, transforms.InterpolationMode.BICUBIC)
    wanted = np.array(transforms.CenterCrop(224)(resize(image)), np.int64)
    decoded = decode(encode(image), 224, "x", centre=256)
    # Its crop of the longer side starts at a whole pixel.
    assert np.abs(decoded - wanted).mean() < 0.5


PALETTE = Image.new("P", (8, 8), 1)
PALETTE.putpalette([0, 0, 0, 10, 20, 30])


@pytest.mark.parametrize(
    ("encoded", "colour"),
    [
        pytest.param(encode(solid("L", 70)), (70, 70, 70), id="grey"),
        pytest.param(encode(solid("1", 1)), (255, 255, 255), id="bilevel"),
        pytest.param(encode(PALETTE), (10, 20, 30), id="palette"),
        pytest.param(encode(PALETTE, "GIF"), (10, 20, 30), id="gif"),
        pytest.param(encode(PALETTE, transparency=1), (255, 255, 255), id="palette-clear"),
        pytest.param(encode(solid("RGBA", (9, 9, 9, 0))), (255, 255, 255), id="rgba-clear"),
        pytest.param(encode(solid("RGBA", (0, 50, 100, 51))), (204, 214, 224), id="rgba-fifth"),
        pytest.param(encode(solid("RGBA", (1, 2, 3, 255))), (1, 2, 3), id="rgba-opaque"),
        pytest.param(encode(solid("LA", (0, 51))), (204, 204, 204), id="grey-alpha"),
        pytest.param(encode(solid("CMYK", (255, 0, 0, 0)), "TIFF"), (0, 255, 255), id="cmyk"),
        pytest.param(encode(solid("I;16", 257 * 99)), (99, 99, 99), id="grey-16-bit"),
    ],
)
def test_colour_modes_become_rgb(encoded: bytes, colour: tuple[int, int, int]) -> None:
    decoded = decode(encoded, 8, "x")
    assert decoded.shape == (8, 8, 3)
    assert np.abs(decoded.astype(int) - colour).max() == 0


def test_cmyk_jpeg_becomes_rgb() -> None:
    decoded = decode(encode(solid("CMYK", (255, 0, 0, 0)), "JPEG"), 8, "x")
    assert np.abs(decoded.astype(int) - (0, 255, 255)).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.zeros((8, 8), np.uint16)
    values[0, :6] = [0, 128, 129, 256, 32768, 65535]
    decoded = decode(encode(Image.fromarray(values), kind), 8, "x")
    assert decoded[0, :6, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert (decoded == decoded[:, :, :1]).all()


def grey_png(bits: int, values: list[int], clear: int) -> bytes:
    """8 rows of these 8 values, of which `clear` is transparent."""
    row = int("".join(f"{value:0{bits}b}" for value in values), 2).to_bytes(bits, "big")
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0),
        b"tRNS": struct.pack(">H", clear),
        b"IDAT": zlib.compress((b"\0" + row) * 8),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


@pytest.mark.parametrize(
    ("bits", "values", "clear", "greys"),
    [
        (1, [0, 1] * 4, 0, [255, 255] * 4),
        (2, [0, 1, 2, 3] * 2, 1, [0, 255, 170, 255] * 2),
        (4, [0, 1, 2, 15] * 2, 2, [0, 17, 255, 255] * 2),
        (8, [0, 1, 2, 85] * 2, 1, [0, 255, 2, 85] * 2),
        # 400, 500 and 501 are all 2 in 8 bits.
        (16, [400, 500, 501, 65535] * 2, 500, [2, 255, 2, 255] * 2),
    ],
)
def test_the_grey_that_is_transparent_is_laid_on_white(
    bits: int, values: list[int], clear: int, greys: list[int]
) -> None:
    decoded = decode(grey_png(bits, values, clear), 8, "x")
    assert (decoded == np.array(greys)[:, None]).all()


def test_a_transparent_grey_of_16_bits_is_laid_on_white_before_it_is_averaged() -> None:
    """Squares of 5 x 5 pixels, in which 10 are transparent: 0.4 of white."""
    values = np.full((1000, 1000), 1, np.uint16)
    values[::5] = values[1::5] = 0
    data = encode(Image.fromarray(values), transparency=0)
    assert (decode(data, 64, "x") == 102).all()


def lying(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    """Where the first row and column of the pixels belong is in the standard: 6 is right, top."""
    pixels = np.kron(noise(2, 2), np.ones((16, 16, 1), np.uint8))
    transposed = pixels.swapaxes(0, 1)
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    exif = lying(orientation)
    data = encode(Image.fromarray(pixels), kind, exif=exif, **options.get(kind, {}))
    difference = decode(data, 32, "x").astype(int) - upright[orientation]
    assert np.abs(difference).max() <= (3 if kind == "JPEG" else 0)


def exif_of(*entries: tuple[int, int, bytes]) -> bytes:
    """An EXIF block of entries with one value each: tag, type, and the four bytes of the value."""
    fields = b"".join(struct.pack("<HHI", tag, kind, 1) + value for tag, kind, value in entries)
    directory = struct.pack("<H", len(entries)) + fields + struct.pack("<I", 0)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory


def png_with_exif(profile: str) -> bytes:
    """A PNG whose EXIF lies in a text, as ImageMagick writes it."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", profile)
    return encode(landscape(64, 32), pnginfo=info)


def jpeg_with_exif(exif: bytes) -> bytes:
    return encode(landscape(64, 32), "JPEG", exif=exif)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(jpeg_with_exif(b"Exif\0\0garbagegarbage"), id="jpeg"),
        pytest.param(encode(landscape(64, 32), "WEBP", exif=b"garbagegarbage"), id="webp"),
        pytest.param(png_with_exif("\nexif\n       8\nzz\n"), id="png-no-hexadecimals"),
        pytest.param(png_with_exif("\nexif\n       4\n61626364\n"), id="png-no-tiff"),
        pytest.param(jpeg_with_exif(exif_of((0x0112, 2, b"6\0\0\0"))), id="ascii"),
        pytest.param(jpeg_with_exif(exif_of((0x0112, 7, b"\6\0\0\0"))), id="undefined"),
        pytest.param(jpeg_with_exif(exif_of((0x0112, 3, b"\0\0\0\0"))), id="0"),
        pytest.param(jpeg_with_exif(exif_of((0x0112, 3, b"\x09\0\0\0"))), id="9"),
    ],
)
def test_an_orientation_that_cannot_be_read_leaves_the_image_as_it_is(data: bytes) -> None:
    decoded = decode_shard([("a", data)], 32)
    assert decoded.problems == {}
    assert decoded.sizes.tolist() == [[64, 32]]
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decoded.images[0], np.array(image.convert("RGB"))[:, 16:48])


def test_an_orientation_beside_a_damaged_entry_is_applied() -> None:
    """A description that is a number of 8 bytes, of which Pillow cannot make a text."""
    orientation, description = (0x0112, 3, b"\6\0\0\0"), (0x010E, 12, b"\x08\0\0\0")
    turned = decode_shard([("a", jpeg_with_exif(exif_of(orientation, description)))], 32)
    assert turned.problems == {}
    assert turned.sizes.tolist() == [[32, 64]]
    upright = decode(jpeg_with_exif(b""), 32, "x")
    assert np.array_equal(turned.images[0], np.rot90(upright, -1))


@pytest.mark.parametrize("wide", [True, False])
def test_the_centre_is_cropped(wide: bool) -> None:
    pixels = noise(8, 16) if wide else noise(16, 8)
    decoded = decode(encode(Image.fromarray(pixels)), 8, "x")
    assert np.array_equal(decoded, pixels[:, 4:12] if wide else pixels[4:12])


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (9, 8), (31, 77)])
def test_any_shape_fits(shape: tuple[int, int]) -> None:
    decoded = decode(encode(Image.fromarray(np.full((*shape, 3), 77, np.uint8))), 8, "x")
    assert decoded.shape == (8, 8, 3)
    assert (decoded == 77).all()


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    decoded = decode(encode(Image.fromarray(board)), 16, "x")
    assert np.abs(decoded.astype(int) - 127.5).max() < 8


# Images that are much larger than wanted


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("JPEG", "L"), *(("PNG", mode) for mode in ("RGB", "P", "RGBA", "I;16"))],
)
def test_what_is_averaged_before_it_is_resized_looks_the_same(kind: str, mode: str) -> None:
    image = landscape(1600, 900)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    elif mode == "I;16":
        image = Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "P":
        image = image.quantize(50)
    else:
        image = image.convert(mode)
    data = encode(image, kind)
    whole = decode(data, 900, "x")
    wanted = np.array(Image.fromarray(whole).resize((48, 48), Image.Resampling.BICUBIC), np.int64)
    difference = np.abs(decode(data, 48, "x") - wanted)
    assert difference.mean() < 0.8
    assert difference.max() < 8


def test_an_image_has_its_original_size_at_whatever_scale_it_was_decoded() -> None:
    turned = lying(6)
    image = landscape(803, 501)
    shard = [
        ("a", encode(image, "JPEG")),
        ("b", encode(image, "JPEG", exif=turned)),
        ("c", encode(image, exif=turned)),
    ]
    decoded = decode_shard(shard, 8)
    assert decoded.sizes.tolist() == [[803, 501], [501, 803], [501, 803]]
    upright = np.rot90(decoded.images[0].astype(np.int64), -1)
    assert np.abs(decoded.images[1:] - upright).mean() < 1


# What the peak of this process has grown by, in MiB; that of getrusage begins with its parent's.
DECODING = """
import re, sys
from atcore.images.decode import decode
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
data = open(sys.argv[1], "rb").read()
before = peak()
decode(data, 64, "x")
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("kind", "mode", "size", "most"),
    [
        # In memory this is 504 MB.
        pytest.param("JPEG", "RGB", (14_000, 9_000), 60, id="panorama"),
        # 64 MB, to which conversions would add three times as much.
        pytest.param("PNG", "RGBA", (4_000, 4_000), 130, id="transparent"),
    ],
)
def test_a_huge_image_takes_little_memory(
    kind: str, mode: str, size: tuple[int, int], most: int, tmp_path: Path
) -> None:
    path = tmp_path / "huge"
    Image.new(mode, size, "navy").save(path, kind)
    command = [sys.executable, "-c", DECODING, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(done.stdout) < most


def test_a_jpeg_of_more_pixels_than_fit_is_read() -> None:
    data = encode(Image.new("L", (60_000, 3_000), 77), "JPEG")
    assert (decode(data, 8, "x") == 77).all()


JPEG = encode(Image.fromarray(noise(32, 32)), "JPEG")
PNG = encode(Image.fromarray(noise(32, 32)))
LARGE = {
    kind: encode(Image.fromarray(noise(64, 64)), kind) for kind in ("AVIF", "WEBP", "JPEG2000")
}
DAMAGED = "but truncated, damaged or of an unusual kind"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"This is a text.\n", id="text"),
        pytest.param(JPEG[: len(JPEG) // 2], id="truncated-jpeg"),
        pytest.param(PNG[: len(PNG) // 2], id="truncated-png"),
        pytest.param(JPEG[:20], id="jpeg-header"),
        pytest.param(PNG[:-40] + b"\0" * 20 + PNG[-20:], id="damaged-png"),
        pytest.param(encode(Image.new("F", (8, 8), 0.5), "TIFF"), id="floating-point"),
        pytest.param(encode(Image.new("I", (8, 8), 70_000), "TIFF"), id="32-bit"),
        pytest.param(b"P6 99999 99999 255\n", id="huge"),
    ],
)
def test_what_is_no_image_is_named(data: bytes) -> None:
    with pytest.raises(UnreadableImageError, match=r"^cats/7\.jpg: [^\n]+$"):
        decode(data, 8, "cats/7.jpg")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"This is a text.\n", "not an image"),
        (b"\n<!DOCTYPE html><html>", "a web page (HTML); download it again"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC; convert it to JPEG"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "a pointer of Git LFS; fetch the file with `git lfs pull`",
        ),
        (
            b"P6 20000 10000 255\n",
            "20,000 x 10,000 px; more than 134 megapixels are read only from JPEG that is not "
            "progressive; make it smaller",
        ),
        (JPEG[: len(JPEG) // 2], f"truncated, it ends after {len(JPEG) // 2:,} bytes"),
        (PNG[:12], f"PNG of 12 bytes, {DAMAGED}"),
        (JPEG[:20], f"JPEG of 20 bytes, {DAMAGED}"),
        (encode(solid("L", 1), "GIF")[:20], f"GIF of 20 bytes, {DAMAGED}"),
        (encode(solid("L", 1), "TIFF")[:20], f"TIFF of 20 bytes, {DAMAGED}"),
        (LARGE["AVIF"][:1234], f"AVIF of 1,234 bytes, {DAMAGED}"),
        (
            LARGE["WEBP"][:1234],
            f"WebP of 1,234 bytes, {DAMAGED} (could not create decoder object)",
        ),
        (
            LARGE["JPEG2000"][:1234],
            f"JPEG 2000 of 1,234 bytes, {DAMAGED} (broken data stream when reading image file)",
        ),
        (b"BMW, the car", "not an image"),
        (
            encode(Image.new("F", (8, 8), 0.5), "TIFF"),
            "floating-point pixels have no defined range",
        ),
        (
            b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
            "SVG; convert it to PNG",
        ),
        (b"<!-- Drawn --><svg/>", "SVG; convert it to PNG"),
        (b"<SVG/>", "SVG; convert it to PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS; convert it to PNG"),
        (b"\xc5\xd0\xd3\xc6" + b"\0" * 40, "EPS; convert it to PNG"),
    ],
)
def test_the_reason_is_in_the_words_of_a_user(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(data, 8, "cats/7.jpg")
    assert str(caught.value) == f"cats/7.jpg: {reason}"


@pytest.mark.parametrize(
    "page",
    [
        "<html>",
        "\ufeff<!DOCTYPE html>",
        "\ufeff \r\n\t<HTML>",
        "<!-- 404 --><html>",
        "<head><title>Not found</title></head>",
        "<title>Not found</title>",
        "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "<?xml version='1.0'?><html><body><svg/></body></html>",
        "<!doctype html><svg/>",
    ],
)
def test_a_web_page_is_called_one_however_it_starts(page: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"^x: a web page \(HTML\); download it again$"):
        decode(page.encode(), 8, "x")


def test_eps_is_named_where_ghostscript_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", False)
    with pytest.raises(UnreadableImageError, match=r"^x: EPS; convert it to PNG$"):
        decode(encode(solid("RGB", "navy"), "EPS"), 8, "x")


@pytest.mark.parametrize("whole", [JPEG, PNG])
def test_damaged_bytes_raise_nothing_else(whole: bytes) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            damaged[position] = rng.integers(256)
        with suppress(UnreadableImageError):
            assert decode(bytes(damaged), 8, "x").shape == (8, 8, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_header_raises_nothing_else() -> None:
    data = encode(
        Image.fromarray(noise(8, 8)), "JPEG", exif=b"Exif\0\0II*\0" + struct.pack("<I", 9)
    )
    with suppress(UnreadableImageError):
        assert decode(data, 8, "x").shape == (8, 8, 3)


def test_a_shard_goes_on_after_an_unreadable_image() -> None:
    pixels = noise(8, 8)
    good = encode(Image.fromarray(pixels))
    decoded = decode_shard([("a", good), ("b", b"text"), ("c", good)], 8)
    assert decoded.problems == {1: "b: not an image"}
    assert np.array_equal(decoded.images, [pixels, np.zeros_like(pixels), pixels])
    assert decoded.sizes.tolist() == [[8, 8], [0, 0], [8, 8]]


def test_a_shard_has_the_sizes_of_the_upright_originals() -> None:
    turned = lying(6)
    image = Image.fromarray(noise(30, 40))
    shard = [("a", encode(image)), ("b", encode(image, exif=turned))]
    assert decode_shard(shard, 8, 16).sizes.tolist() == [[40, 30], [30, 40]]
