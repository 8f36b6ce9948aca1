"""From stored images to pixels, statistics and augmentation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from atcore.images.pixels import channel_statistics, crop_flip, to_pixels


def random_bytes(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(
        0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )


def test_pixels_are_scaled_to_one_and_channels_come_first() -> None:
    images = torch.tensor([0, 51, 255, 102, 153, 204], dtype=torch.uint8).view(1, 1, 2, 3)
    expected = torch.tensor([[0.0, 0.4], [0.2, 0.6], [1.0, 0.8]]).view(1, 3, 1, 2)
    found = to_pixels(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    assert images.flatten().tolist() == [0, 51, 255, 102, 153, 204]


def test_statistics_are_those_of_numpy() -> None:
    images = random_bytes(5, 7, 6, 3)
    images[..., 1] //= 3
    mean, std = channel_statistics(images.split(2))
    scaled = images.numpy().astype(np.float64) / 255
    assert mean == pytest.approx(scaled.mean(axis=(0, 1, 2)), abs=1e-12)
    assert std == pytest.approx(scaled.std(axis=(0, 1, 2)), abs=1e-9)


def test_statistics_of_one_colour_can_divide() -> None:
    mean, std = channel_statistics([torch.full((2, 4, 4, 3), 51, dtype=torch.uint8)])
    assert mean == pytest.approx((0.2, 0.2, 0.2))
    assert std == pytest.approx((1e-3, 1e-3, 1e-3))


def views(image: np.ndarray, pad: int) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of the zero-padded C x S x S image, as it is and flipped."""
    size = image.shape[-1]
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    found = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, top : top + size, left : left + size]
            found[crop.tobytes()] = (top, left, False)
            found[crop[:, :, ::-1].tobytes()] = (top, left, True)
    return found


@settings(max_examples=30)
@given(
    size=st.sampled_from([3, 8, 15, 16, 24]),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**31),
)
def test_every_output_is_a_shifted_or_flipped_copy_of_its_own_input(
    size: int, channels: int, seed: int
) -> None:
    x = torch.rand(4, channels, size, size, generator=torch.Generator().manual_seed(seed)) + 0.1
    out = crop_flip(x, size, torch.Generator().manual_seed(seed))
    assert out.shape == x.shape
    for before, after in zip(x.numpy(), out.numpy(), strict=True):
        assert after.tobytes() in views(before, size // 8)


def test_every_shift_and_flip_occurs_about_equally_often() -> None:
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.1
    out = crop_flip(image.expand(3600, -1, -1, -1), 8, torch.Generator().manual_seed(1))
    known = views(image[0].numpy(), pad=1)
    counts = dict.fromkeys(known.values(), 0)
    for view in out.numpy():
        counts[known[view.tobytes()]] += 1
    assert len(counts) == 18
    # 200 expected each; the standard deviation is 14.
    assert min(counts.values()) > 130
    assert max(counts.values()) < 270


def test_rows_move_with_rows_and_columns_with_columns() -> None:
    # The only bright pixel lies in row 2, column 5; shifts by at most 1 keep it near.
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 2, 5] = 1
    out = crop_flip(x.expand(500, -1, -1, -1), 8, torch.Generator().manual_seed(0))
    rows, columns = out.amax(3).argmax(2), out.amax(2).argmax(2)
    assert set(rows.flatten().tolist()) == {1, 2, 3}
    assert set(columns.flatten().tolist()) == {4, 5, 6, 1, 2, 3}


def test_shift_beyond_the_border_brings_in_zeros() -> None:
    ones = torch.ones(200, 1, 8, 8)
    out = crop_flip(ones, 8, torch.Generator().manual_seed(0))
    # 8 x 8 minus a row or column where the crop leaves the image.
    assert set(out.sum(dim=(1, 2, 3)).tolist()) == {64.0, 56.0, 49.0}


def test_of_a_larger_image_every_window_occurs_and_nothing_is_padded() -> None:
    image = torch.rand(1, 3, 10, 10, generator=torch.Generator().manual_seed(0)) + 0.1
    out = crop_flip(image.expand(1000, -1, -1, -1), 8, torch.Generator().manual_seed(1))
    windows = image[0].unfold(1, 8, 1).unfold(2, 8, 1).permute(1, 2, 0, 3, 4).reshape(9, 3, 8, 8)
    known = {view.tobytes() for view in torch.cat([windows, windows.flip(3)]).numpy()}
    assert {view.tobytes() for view in out.numpy()} == known


def test_equal_generators_give_equal_crops() -> None:
    x = torch.rand(16, 3, 16, 16)
    first = crop_flip(x, 16, torch.Generator().manual_seed(4))
    assert torch.equal(crop_flip(x, 16, torch.Generator().manual_seed(4)), first)
    assert not torch.equal(crop_flip(x, 16, torch.Generator().manual_seed(5)), first)
