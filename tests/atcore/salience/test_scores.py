"""Measures of salience maps against hand computations and slow, direct ones; their table."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from atcore.base.errors import UserError
from atcore.salience import measured, scores
from atcore.salience.measured import Measured


def _maps(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).view(len(rows), 2, -1)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([0.0, 0.0, 0.0, 1.0], 0.75),
        ([2.0, 2.0, 2.0, 2.0], 0.0),
        ([0.0, 1.0, 0.0, 1.0], 0.5),
        # Mean difference of all pairs over twice the mean: 20 / 16 / (2 * 2.5).
        ([4.0, 2.0, 3.0, 1.0], 0.25),
        ([0.0, 0.0, 0.0, 0.0], float("nan")),
    ],
)
def test_gini(pixels: list[float], expected: float) -> None:
    np.testing.assert_allclose(scores.gini(_maps(pixels)), [expected], rtol=1e-6, atol=1e-7)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 5), min_size=12, max_size=12), st.integers(0, 2**16))
def test_rank_correlation_is_that_of_scipy_with_and_without_ties(
    tied: list[int], seed: int
) -> None:
    first = torch.tensor(tied, dtype=torch.float32).view(1, 3, 4)
    rng = np.random.default_rng(seed)
    second = torch.from_numpy(rng.random((1, 3, 4), np.float32))
    found = scores.correlation(scores.ranks(first), scores.ranks(second))
    if len(set(tied)) == 1:
        assert torch.isnan(found).all()
    else:
        expected = spearmanr(first.flatten(), second.flatten()).statistic
        np.testing.assert_allclose(found, [expected], atol=1e-12)


def test_each_map_has_ranks_of_its_own() -> None:
    maps = _maps([0.5, 0.5, 3.0, 0.1], [4.0, 3.0, 2.0, 1.0])
    np.testing.assert_array_equal(
        scores.ranks(maps), [[0.0, 0.0, 1.5, -1.5], [1.5, 0.5, -0.5, -1.5]]
    )


def _slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Equation 13 of Wang et al. 2004, window by window."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    px, py = np.pad(x, 5, mode="reflect"), np.pad(y, 5, mode="reflect")
    values = []
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            a, b = px[i : i + 11, j : j + 11], py[i : i + 11, j : j + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a = (window * (a - mean_a) ** 2).sum()
            var_b = (window * (b - mean_b) ** 2).sum()
            both = (window * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + 1e-4)
                * (2 * both + 9e-4)
                / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
            )
    return float(np.mean(values))


def test_ssim_against_a_direct_computation() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 2, 12, 16)).astype(np.float32)
    y = 0.6 * x + 0.4 * y
    expected = [
        _slow_ssim(
            np.minimum(a / np.percentile(a, 99), 1.0), np.minimum(b / np.percentile(b, 99), 1.0)
        )
        for a, b in zip(x, y, strict=True)
    ]
    found = scores.ssim(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_ssim_of_a_map_and_itself_is_one_whatever_its_scale() -> None:
    maps = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(scores.ssim(maps, 1000 * maps), [1, 1], atol=1e-5)
    zeros = torch.zeros(1, 8, 8)
    np.testing.assert_allclose(scores.ssim(zeros, zeros), [1])
    assert scores.ssim(zeros, maps[:1]) < 0.1


def test_shares_inside_and_on_the_outline_by_hand() -> None:
    inside = torch.zeros(1, 5, 6, dtype=torch.bool)
    inside[0, :, :3] = True
    outline = torch.zeros_like(inside)
    outline[0, :, 2:4] = True  # a pixel on either side; the border of the image is no outline
    assert torch.equal(scores.outline(inside), outline)
    maps = torch.tensor([[5.0, 1.0, 3.0, 1.0, 0.0, 0.0]]).expand(1, 5, 6)
    np.testing.assert_allclose(scores.share(maps, inside), [0.9], rtol=1e-6)
    np.testing.assert_allclose(scores.share(maps, outline), [0.4], rtol=1e-6)
    assert torch.isnan(scores.share(torch.zeros(1, 5, 6), inside)).all()


def test_edges_are_where_the_colour_changes() -> None:
    x = torch.full((1, 3, 16, 16), 0.2)
    x[:, 0, :, 8:] = 0.8
    found = scores.edges(x)
    assert found[0].argmax(dim=1).unique().tolist() in ([7], [8])
    np.testing.assert_allclose(found[0, :, :3], 0, atol=1e-6)
    turned = scores.edges(x.mT)
    np.testing.assert_allclose(turned, found.mT, atol=1e-6)


# --- the table ------------------------------------------------------------------------------------


def _part(variant: str, measure: str, ids: list[int]) -> Measured:
    values = np.array(ids, np.float32) / 8
    return Measured(variant, 0.5, "gradient", measure, np.array(ids, np.int64), values)


def test_the_table_gives_back_what_was_written(tmp_path: Path) -> None:
    parts = [_part("clean", "gini", [3, 1]), _part("clean", "ssim", [1]), _part("dim", "gini", [7])]
    measured.write(parts, tmp_path / "a.parquet")
    measured.write(parts, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    back = measured.read(tmp_path / "a.parquet")
    assert [part.key for part in back] == [part.key for part in parts]
    for part, expected in zip(back, parts, strict=True):
        np.testing.assert_array_equal(part.ids, expected.ids)
        np.testing.assert_array_equal(part.values, expected.values)


def test_parts_of_one_measure_are_joined_in_order() -> None:
    parts = [_part("clean", "gini", [3, 1]), _part("dim", "gini", [2]), _part("clean", "gini", [5])]
    first, second = measured.joined(parts)
    assert (first.variant, first.ids.tolist()) == ("clean", [3, 1, 5])
    assert (second.variant, second.values.tolist()) == ("dim", [0.25])


def test_another_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "measures.parquet"
    pq.write_table(pa.table({"id": [1]}), file)
    with pytest.raises(
        UserError, match=r"measures\.parquet: not a table of measures; its columns are id"
    ):
        measured.read(file)
    file.write_text("no Parquet")
    with pytest.raises(UserError, match=r"measures\.parquet: not a readable Parquet file"):
        measured.read(file)
