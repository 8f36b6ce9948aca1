"""How much memory a process takes, or takes of the GPU that it works on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from ray._common.utils import get_system_memory

_PROCESS = Path("/proc/self")
# What the kernel is told so that it forgets how much memory a process has had so far.
_FORGET = "5"
_FEW, _SOME = 2, 4


@dataclass(frozen=True)
class Memory:
    """Bytes of a process: `fixed`, and `image` for each image that it works on at once."""

    fixed: float
    image: float

    def of(self, images: int) -> float:
        """With so many images at once."""
        return self.fixed + self.image * images


def most(call: Callable[[], object], device: torch.device) -> int:
    """Call it; returns the most bytes that this process had meanwhile, or had of its GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device)
    (_PROCESS / "clear_refs").write_text(_FORGET)
    call()
    kilobytes = (_PROCESS / "status").read_text().partition("VmHWM:")[2].split()[0]
    return int(kilobytes) * 1024


def memory(work: Callable[[int], object], images: int, device: torch.device) -> Memory:
    """The line through what work takes with a few images at once, and with so many.

    Args:
        work: is given how many images to work on.
        images: as many as is affordable; four if that is more.
    """
    images = max(_SOME, images)
    few, many = (most(partial(work, count), device) for count in (_FEW, images))
    image = max(0.0, (many - few) / (images - _FEW))
    return Memory(few - _FEW * image, image)


def of_machine() -> int:
    """Bytes of memory of the GPU that this process may use, or else of the machine.

    Of a machine as Ray counts them, which ends tasks when they run short: a container may have less
    than its machine.
    """
    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory
    return int(get_system_memory())
