"""The embedded dataset `shapes`: silhouettes with a faint class texture, generated from a seed.

The class decides two things: the silhouette, and a faint sinusoidal grating over the whole image.
Both predict the class; only the silhouette survives a perturbation of 8/255. Because the generator
draws them independently of each other, an image with the shape of one class and the texture of
another (a cue conflict) is exact, and so is the outline of the object.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atcore.base.rng import numpy_rng

CLASSES = ("disc", "square", "triangle", "plus", "ring", "star", "bar", "cross")
SIZE = 32

_SUPERSAMPLING = 3
_TEXTURE_AMPLITUDE = 8 / 255
_NOISE = 4 / 255

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _plus(x: Floats, y: Floats) -> Mask:
    ax, ay = np.abs(x), np.abs(y)
    return (np.minimum(ax, ay) < 0.3) & (np.maximum(ax, ay) < 1)


def _star(x: Floats, y: Floats) -> Mask:
    # A five-pointed star is the set below a zigzag between the outer and the inner radius.
    phase = np.abs(((np.arctan2(x, -y) / (2 * np.pi) * 5) % 1) - 0.5) * 2
    return np.asarray(np.hypot(x, y) < 0.38 + (1.1 - 0.38) * phase**1.5)


_INSIDE: dict[str, Callable[[Floats, Floats], Mask]] = {
    "disc": lambda x, y: np.hypot(x, y) < 0.9,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.8,
    "triangle": lambda x, y: (y < 0.7) & (y > 1.9 * np.abs(x) - 1.1),
    "plus": _plus,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.75) < 0.22,
    "star": _star,
    "bar": lambda x, y: (np.abs(x) < 1.05) & (np.abs(y) < 0.3),
    "cross": lambda x, y: _plus((x + y) / np.sqrt(2), (x - y) / np.sqrt(2)),
}


@dataclass(frozen=True)
class Render:
    """One image and what the generator knows about it.

    Attributes:
        pixels: uint8, 32 x 32 x 3, 0 to 255.
        inside: bool, 32 x 32, true where the object covers more than half of the pixel.
    """

    pixels: NDArray[np.uint8]
    inside: Mask


def _coverage(rng: np.random.Generator, name: str) -> Floats:
    """Share of each pixel (32 x 32, 0 to 1) covered by a randomly placed silhouette."""
    radius = rng.uniform(7.5, 10.5)
    centre = SIZE / 2 + rng.uniform(-3.5, 3.5, size=2)
    angle = np.deg2rad(rng.uniform(-12, 12))
    fine = (np.arange(SIZE * _SUPERSAMPLING) + 0.5) / _SUPERSAMPLING
    dx, dy = (fine[None, :] - centre[0]) / radius, (fine[:, None] - centre[1]) / radius
    x, y = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    blocks = _INSIDE[name](x, y).reshape(SIZE, _SUPERSAMPLING, SIZE, _SUPERSAMPLING)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _texture(rng: np.random.Generator, texture: int) -> Floats:
    """A grating (32 x 32, -1 to 1): orientation and frequency by class, phase at random."""
    angle = np.pi * texture / len(CLASSES)
    cycles_per_pixel = (0.17, 0.25, 0.33)[texture % 3]
    pixel = np.arange(SIZE)
    along = np.cos(angle) * pixel[None, :] + np.sin(angle) * pixel[:, None]
    return np.asarray(np.sin(2 * np.pi * (cycles_per_pixel * along + rng.uniform())))


def render(seed: int, image_id: int, shape: int, texture: int) -> Render:
    """Draw image `image_id` with the silhouette of class `shape` and the grating of `texture`.

    Position, size, rotation, colours and noise depend on (seed, image_id) only: a cue conflict
    differs from its original in nothing but the grating.
    """
    coverage = _coverage(numpy_rng(seed, "shapes/silhouette", image_id), CLASSES[shape])
    colours = numpy_rng(seed, "shapes/colours", image_id)
    offset = colours.uniform(0.25, 0.5, size=3) * colours.choice([-1, 1], size=3)
    low, high = 0.1 - np.minimum(offset, 0), 0.9 - np.maximum(offset, 0)
    background = colours.uniform(low, high)
    surface = numpy_rng(seed, "shapes/surface", image_id)
    pixels = background + coverage[:, :, None] * offset
    pixels += _TEXTURE_AMPLITUDE * _texture(surface, texture)[:, :, None]
    pixels += _NOISE * surface.standard_normal((SIZE, SIZE, 3))
    return Render(np.rint(pixels.clip(0, 1) * 255).astype(np.uint8), coverage > 0.5)


def label_of(image_id: int) -> int:
    """The class of an image: ids go round the classes, so every split is balanced."""
    return image_id % len(CLASSES)
