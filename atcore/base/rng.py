"""Random numbers that depend on what they are for, never on who draws them.

Every stream is keyed by (seed, purpose, index). The stream of image i is therefore the same in any
shard, on any worker and after any restart.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def stream_key(seed: int, purpose: str, *index: int) -> int:
    """128 bits that name a stream."""
    text = f"{seed}/{purpose}/{'/'.join(map(str, index))}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def numpy_rng(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A NumPy generator whose stream is a function of the arguments alone."""
    return np.random.Generator(np.random.Philox(key=stream_key(seed, purpose, *index)))


def start_noise(
    shape: tuple[int, ...], ids: NDArray[np.int64], purpose: str, seed: int
) -> NDArray[np.float32]:
    """Standard normal noise, float32 N x `shape`: row i a function of (seed, purpose, ids[i])."""
    return np.stack(
        [numpy_rng(seed, purpose, int(i)).standard_normal(shape, np.float32) for i in ids]
    )
