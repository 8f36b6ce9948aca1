"""Streams of random numbers that are a function of what they are for."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atcore.base.rng import numpy_rng, start_noise, stream_key
from atcore.training.run import torch_rng

integers = st.integers(-(2**70), 2**70)
purposes = st.sampled_from(["train/order", "train/attack", "shapes/surface", "p"])
names = st.tuples(integers, purposes, st.lists(integers, max_size=3).map(tuple))


# Written down once; a change here makes every stored image, variant and network another one.
@pytest.mark.parametrize(
    ("seed", "purpose", "index", "key", "first"),
    [
        pytest.param(
            0,
            "shapes/silhouette",
            (0,),
            0xCCAF2ECAC367E5586D2ADFA8CCA2DF13,
            0x535DC36B59D5892F,
            id="index 0",
        ),
        pytest.param(
            1,
            "train/weights",
            (),
            0xEAE7CEBA6ED805BAB86D88D4E1B7AD16,
            0x25F3F90D6F277080,
            id="no index",
        ),
        pytest.param(
            2,
            "stylized/style",
            (7, -3),
            0x4261720AEFB2BA2CF1AE91F625C94F8E,
            0xDED19B1833818CDB,
            id="two indices",
        ),
    ],
)
def test_streams_are_the_same_in_every_version(
    seed: int, purpose: str, index: tuple[int, ...], *, key: int, first: int
) -> None:
    assert stream_key(seed, purpose, *index) == key
    assert int(numpy_rng(seed, purpose, *index).bit_generator.random_raw()) == first


def test_streams_are_the_same_in_every_process() -> None:
    program = "from atcore.base.rng import numpy_rng; print(numpy_rng(3, 'a', 4).random())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert outputs == {f"{numpy_rng(3, 'a', 4).random()}\n"}


@given(name=names, other=names)
def test_equal_names_give_equal_streams_and_different_names_different_ones(
    name: tuple[int, str, tuple[int, ...]], other: tuple[int, str, tuple[int, ...]]
) -> None:
    def draws(of: tuple[int, str, tuple[int, ...]]) -> tuple[list[float], list[float]]:
        seed, purpose, index = of
        return (
            numpy_rng(seed, purpose, *index).random(4).tolist(),
            torch.rand(4, generator=torch_rng(seed, purpose, *index)).tolist(),
        )

    assert draws(name) == draws(name)
    for mine, theirs in zip(draws(name), draws(other), strict=True):
        assert (mine == theirs) is (name == other)


def test_neighbouring_streams_are_independent() -> None:
    draws = np.stack([numpy_rng(0, "p", index).standard_normal(2000) for index in range(8)])
    correlations = np.corrcoef(draws)[np.triu_indices(8, k=1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def test_drawing_from_a_stream_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    torch.rand(5, generator=torch_rng(1, "p"))
    numpy_rng(1, "p").random(5)
    assert torch.equal(torch.rand(3), expected)


def test_noise_belongs_to_the_image_not_to_its_place() -> None:
    together = start_noise((3, 4, 4), np.array([7, 8, 9]), "p", 0)
    alone = start_noise((3, 4, 4), np.array([9]), "p", 0)
    assert (together[2] == alone[0]).all()
    assert (together[0] != together[1]).any()
    assert (alone != start_noise((3, 4, 4), np.array([9]), "p", 1)).any()
