"""Edge agreement against scipy, the images of the probes, and the file of a variant's quality."""

import numpy as np
import pytest
from atcore_samples import shapes_table
from numpy.typing import NDArray
from scipy import ndimage

from atcore.images import shapes
from atcore.images.table import concatenate
from atcore.quality.outlines import edge_agreement, edge_correlations
from atcore.quality.probe import accuracy, independent
from atcore.quality.results import Probe, Quality
from atcore.statistics.estimates import Estimate
from atcore.variants.kinds import vary

SHAPES = shapes_table(40)


def edges_by_scipy(image: NDArray[np.uint8], sigma: int) -> NDArray[np.float64]:
    squares = np.zeros(image.shape[:2])
    for channel in np.moveaxis(image.astype(float), -1, 0):
        blurred = ndimage.gaussian_filter(channel, sigma, mode="mirror", radius=3 * sigma)
        for axis in (0, 1):
            squares += ndimage.sobel(blurred, axis, mode="nearest") ** 2
    return np.sqrt(squares / 3).ravel()


@pytest.mark.parametrize("factor", [1, 2])
def test_edge_agreement_is_the_mean_correlation_of_sobel_edges(factor: int) -> None:
    first, second = (
        images.repeat(factor, axis=1).repeat(factor, axis=2)
        for images in (SHAPES.images[:10], SHAPES.images[10:20])
    )
    expected = [
        np.corrcoef(edges_by_scipy(a, factor), edges_by_scipy(b, factor))[0, 1]
        for a, b in zip(first, second, strict=True)
    ]
    found = edge_agreement(edge_correlations(first, [second]))
    assert found is not None
    assert found.value == pytest.approx(np.mean(expected), abs=1e-5)
    assert found.n == 10
    # Close to mean +- 2 standard errors, which is what a bootstrap interval comes to.
    spread = np.std(expected) / np.sqrt(10)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.2)


def test_edges_agree_fully_with_their_own_and_hardly_with_those_of_shuffled_patches() -> None:
    patches = vary("patch_shuffled", SHAPES, 4, SHAPES, 0).images
    ways = edge_correlations(SHAPES.images, [SHAPES.images, 255 - SHAPES.images, patches])
    same, inverted, shuffled = (edge_agreement([way]) for way in ways)
    assert same is not None
    assert inverted is not None
    assert shuffled is not None
    assert same.value == pytest.approx(1, abs=1e-6)
    assert inverted.value == pytest.approx(1, abs=1e-4)
    assert shuffled.high < 0.4


def test_images_without_edges_do_not_count() -> None:
    flat = np.full_like(SHAPES.images[:3], 100)
    assert edge_agreement(edge_correlations(SHAPES.images[:3], [flat])) is None
    mixed = np.concatenate([flat, SHAPES.images[3:5]])
    found = edge_agreement(edge_correlations(SHAPES.images[:5], [mixed]))
    assert found is not None
    assert found.n == 2


def test_images_of_the_probes_have_independent_cues_and_come_in_any_parts() -> None:
    table = independent(np.arange(400), 0)
    textures = table.texture_labels
    assert textures is not None
    # Of 400 pairs 50 are equal by chance, standard deviation 6.6.
    assert 25 < (textures == table.labels).sum() < 75
    assert np.bincount(textures, minlength=8).min() > 25
    parts = [independent(np.arange(start, start + 100), 0) for start in range(0, 400, 100)]
    assert np.array_equal(concatenate(parts).images, table.images)
    # Another generator's seed than that of the dataset: no image is one of the test images.
    assert not (table.images[:40] == SHAPES.images).all(axis=(1, 2, 3)).any()


def test_a_probe_finds_a_cue_that_is_there_and_none_that_is_not() -> None:
    # Brightness says the class; nothing says the labels that are shuffled.
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(8, dtype=np.int32), 25)
    images = (30 * labels[:, None, None, None] + rng.integers(0, 20, (200, 16, 16, 3))).astype(
        np.uint8
    )
    found = accuracy(images, labels, epochs=5, seed=0)
    nothing = accuracy(images, rng.permutation(labels), epochs=1, seed=0)
    assert found.n == nothing.n == 40
    assert found.low > 2 / 8
    assert nothing.low < 1 / 8 < nothing.high


def test_quality_comes_back_from_its_file() -> None:
    some = Estimate(0.5, 0.25, 0.75, 40)
    for probe in (None, Probe(4.0, 1 / len(shapes.CLASSES), some, some)):
        quality = Quality({4.0: some, 8.0: None}, probe)
        assert Quality.from_json(quality.to_json()) == quality
