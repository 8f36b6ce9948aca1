"""The generator of `shapes`: what the class decides, and what it does not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from atcore.images import shapes

CLASS_COUNT = len(shapes.CLASSES)
FREQUENCIES = (0.17, 0.25, 0.33)


def spectrum(seed: int, image_id: int, texture: int, other: int) -> NDArray[np.float64]:
    """Amplitudes of what differs between two textures of one image; everything else cancels."""
    first = shapes.render(seed, image_id, 0, texture).pixels.astype(float)
    second = shapes.render(seed, image_id, 0, other).pixels.astype(float)
    return np.abs(np.fft.fft2((first - second).mean(axis=-1)))


def peak(texture: int) -> NDArray[np.float64]:
    """Where the grating of a class lies in the Fourier plane: cycles per pixel down and across."""
    angle = np.pi * texture / CLASS_COUNT
    return FREQUENCIES[texture % 3] * np.array([np.sin(angle), np.cos(angle)])


def wrapped(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    return (frequency + 0.5) % 1 - 0.5


def energy_near(amplitudes: NDArray[np.float64], frequency: NDArray[np.float64]) -> float:
    """Share of the energy within 1.5 bins of a frequency."""
    across = np.fft.fftfreq(shapes.SIZE)
    distance = np.hypot(*np.meshgrid(across - frequency[0], across - frequency[1], indexing="ij"))
    energy = np.square(amplitudes)
    return float(energy[distance < 1.5 / shapes.SIZE].sum() / energy.sum())


@pytest.mark.parametrize("image_id", [0, 1, 12345, 2**40])
def test_an_image_is_a_function_of_seed_and_id(image_id: int) -> None:
    first = shapes.render(7, image_id, 3, 4)
    again = shapes.render(7, image_id, 3, 4)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.inside, again.inside)
    assert not np.array_equal(first.pixels, shapes.render(8, image_id, 3, 4).pixels)
    assert not np.array_equal(first.pixels, shapes.render(7, image_id + 1, 3, 4).pixels)


@pytest.mark.parametrize("shape", range(CLASS_COUNT))
def test_images_have_the_promised_form(shape: int) -> None:
    drawn = shapes.render(0, 5, shape, shape)
    assert drawn.pixels.shape == (32, 32, 3)
    assert drawn.pixels.dtype == np.uint8
    assert drawn.inside.shape == (32, 32)
    assert drawn.inside.dtype == np.bool_


@pytest.mark.parametrize("shape", range(CLASS_COUNT))
def test_texture_does_not_move_the_outline_and_changes_pixels_only_faintly(shape: int) -> None:
    drawn = [shapes.render(1, shape, shape, texture) for texture in range(CLASS_COUNT)]
    for one in drawn:
        assert np.array_equal(one.inside, drawn[0].inside)
    pixels = np.stack([one.pixels for one in drawn]).astype(int)
    # Two gratings of amplitude 8 differ by at most 16, and rounding adds one.
    assert np.ptp(pixels, axis=0).max() <= 17
    assert len({one.pixels.tobytes() for one in drawn}) == CLASS_COUNT


@pytest.mark.parametrize("texture", range(CLASS_COUNT))
def test_texture_of_a_class_is_a_grating_of_its_own_direction_and_frequency(texture: int) -> None:
    other = (texture + 4) % CLASS_COUNT
    amplitudes = spectrum(0, 17, texture, other)
    # A real grating lies at two opposite frequencies; leakage takes some of its half.
    assert energy_near(amplitudes, wrapped(peak(texture))) > 0.15
    for absent in set(range(CLASS_COUNT)) - {texture, other}:
        assert energy_near(amplitudes, wrapped(peak(absent))) < 0.05


def test_texture_is_drawn_with_an_amplitude_of_eight() -> None:
    # The difference of two gratings of amplitude a has a mean square of a^2.
    squares = [
        np.square(
            shapes.render(0, i, 0, 1).pixels.astype(float)
            - shapes.render(0, i, 0, 6).pixels.astype(float)
        ).mean()
        for i in range(40)
    ]
    assert np.sqrt(np.mean(squares)) == pytest.approx(8, rel=0.1)


def test_phase_and_colour_and_place_vary_from_image_to_image() -> None:
    drawn = [shapes.render(0, image_id, 0, 0) for image_id in range(0, 160, 8)]
    assert len({one.inside.tobytes() for one in drawn}) == len(drawn)
    means = np.array([one.pixels.mean(axis=(0, 1)) for one in drawn])
    assert means.std(axis=0).min() > 20


def test_silhouettes_of_the_classes_differ() -> None:
    outlines = [shapes.render(0, 9, shape, 0).inside for shape in range(CLASS_COUNT)]
    for i, first in enumerate(outlines):
        for second in outlines[:i]:
            assert (first ^ second).sum() > 0.1 * (first | second).sum()


def radius(image_id: int) -> float:
    """Of the disc drawn for this image: pi (0.9 r)^2 is its area."""
    return float(np.sqrt(shapes.render(0, image_id, 0, 0).inside.sum() / np.pi) / 0.9)


# Area in units of the squared radius, by the geometry of each silhouette.
AREAS = {"square": 1.6**2, "plus": 4 * 0.6 - 0.6**2, "ring": np.pi * (0.97**2 - 0.53**2)}
AREAS |= {"bar": 2.1 * 0.6, "cross": AREAS["plus"], "triangle": 1.8**2 / 1.9}


@pytest.mark.parametrize(("name", "area"), AREAS.items(), ids=AREAS.keys())
def test_silhouette_has_the_area_of_its_figure(name: str, area: float) -> None:
    shape = shapes.CLASSES.index(name)
    measured = [shapes.render(0, i, shape, 0).inside.sum() / radius(i) ** 2 for i in range(20)]
    assert np.mean(measured) == pytest.approx(area, rel=0.05)


def test_object_stands_out_from_its_background_in_every_channel() -> None:
    for image_id in range(40):
        drawn = shapes.render(0, image_id, image_id % CLASS_COUNT, 0)
        inside = drawn.pixels[drawn.inside].mean(axis=0)
        outside = drawn.pixels[~drawn.inside].mean(axis=0)
        contrast = np.abs(inside - outside) / 255
        assert contrast.min() > 0.2
        assert contrast.max() < 0.55


def test_labels_go_round_the_classes() -> None:
    labels = [shapes.label_of(i) for i in range(4000, 4000 + 5 * CLASS_COUNT)]
    assert np.bincount(labels).tolist() == [5] * CLASS_COUNT
