"""Styles, one per image: procedural ones, strong and stationary, or crops of a user's pictures.

Stationary matters: the layout of a painting would put a new shape into the image.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.images.decode import UnreadableImageError, decode

Floats = NDArray[np.float64]

# Side of a picture in sides of its crops: small enough for a crop to show little of the layout,
# large enough for it to show texture.
_SIDES = 4
# Of noise, per side.
_GRAINS = 32


def _grid(side: int) -> tuple[Floats, Floats]:
    line = np.arange(side, dtype=np.float64)
    return line[None, :], line[:, None]


def _wave(rng: np.random.Generator, side: int) -> Floats:
    """A plane wave of random direction, wavelength (an eighth to a third of 32 px) and phase."""
    x, y = _grid(side)
    angle, wavelength = rng.uniform(0, np.pi), rng.uniform(0.11, 0.33) * side
    phase = (np.cos(angle) * x + np.sin(angle) * y) / wavelength + rng.uniform()
    return np.asarray(np.sin(2 * np.pi * phase))


def _grating(rng: np.random.Generator, side: int) -> Floats:
    return _wave(rng, side)


def _checks(rng: np.random.Generator, side: int) -> Floats:
    return np.sign(_wave(rng, side) * _wave(rng, side))


def _dots(rng: np.random.Generator, side: int) -> Floats:
    x, y = _grid(side)
    spacing, radius = rng.uniform(0.15, 0.3) * side, rng.uniform(0.25, 0.4)
    dx = (x / spacing + rng.uniform()) % 1 - 0.5
    dy = (y / spacing + rng.uniform()) % 1 - 0.5
    return np.where(np.hypot(dx, dy) < radius, 1.0, -1.0)


def _noise(rng: np.random.Generator, side: int) -> Floats:
    """White noise in grains of a 32nd of the side: finer ones are lost where images are reduced."""
    grain = np.arange(side) * _GRAINS // side
    return rng.standard_normal((_GRAINS, _GRAINS))[np.ix_(grain, grain)]


def _blobs(rng: np.random.Generator, side: int) -> Floats:
    """Band-limited noise: random phases on a ring of the Fourier plane."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :]) * side
    ring = np.exp(-((frequency - rng.uniform(3, 7)) ** 2) / 2)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * ring).real
    return np.asarray(field / field.std())


_PATTERNS: tuple[Callable[[np.random.Generator, int], Floats], ...] = (
    _grating,
    _checks,
    _dots,
    _noise,
    _blobs,
)


def procedural(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A texture of random pattern in two random colours: uint8, side x side x 3."""
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng, side)
    mean = rng.uniform(0.3, 0.7, size=3)
    contrast = rng.uniform(0.2, 0.5, size=3) * rng.choice([-1, 1], size=3)
    pixels = mean + pattern[:, :, None] * contrast
    return np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)


def pictures(folder: Path, side: int) -> NDArray[np.uint8]:
    """The pictures in a folder, in the order of their names, ready for `crop`.

    The centre square of each is resized to four times the side of the crops. README.md and hidden
    files do not count.

    Args:
        side: of the crops, in pixels.

    Returns:
        uint8, N x 4 side x 4 side x 3, N >= 1.

    Raises:
        UserError: there is no picture in the folder, or something that is no readable picture.
    """
    paths = [p for p in folder.glob("[!.]*") if p.name != "README.md"]
    if not paths:
        raise UserError(f"{folder}: no pictures in it; its README.md says what to put there")
    try:
        return np.stack([decode(p.read_bytes(), _SIDES * side, str(p)) for p in sorted(paths)])
    except UnreadableImageError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error


def crop(rng: np.random.Generator, styles: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A random part of a random picture: uint8, side x side x 3."""
    picture = styles[rng.integers(len(styles))]
    top, left = rng.integers(len(picture) - side + 1, size=2)
    return picture[top : top + side, left : left + side]


def draw(
    rng: np.random.Generator, side: int, styles: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """A random crop of the pictures, or a procedural texture where there are none."""
    return procedural(rng, side) if styles is None else crop(rng, styles, side)
