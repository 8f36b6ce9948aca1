"""What training asks of the C library."""

import platform
import subprocess
import sys

import pytest

# Pages that the kernel hands out while memory is taken and given back, before and after.
PROGRAM = """
import resource
import numpy as np
from atcore.training.allocation import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        pieces = [np.ones(2**21) for _ in range(4)]
        del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages()
print(pages())
keep_freed_memory()
pages()
print(pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc")
def test_memory_is_not_fetched_again_and_again() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    before, after = map(int, found.stdout.split())
    assert after < before / 100
