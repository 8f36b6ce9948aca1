"""Memory that a step frees, kept for the next one."""

import ctypes

# Of malloc.h: how much may lie free at the end of the heap, and how large a piece is that does not
# come from there, of which glibc allows no more than this.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_FREE, _LARGE = 2**30, 2**25


def keep_freed_memory() -> None:
    """Let the C library keep what this process frees, where it is glibc.

    By itself it gives large pieces back to the kernel, which clears them anew at every step: a
    tenth of the time of a step with batches of 128.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_TRIM_THRESHOLD, _FREE)
        set_option(_MMAP_THRESHOLD, _LARGE)
