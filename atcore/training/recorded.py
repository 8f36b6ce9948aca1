"""Functions of tensors that are recorded once and then replayed, so that a GPU waits for no Python.

A step of adversarial training launches thousands of kernels, each of which takes a GPU less time
than Python takes to launch it. Recorded as a CUDA graph it is one launch.
"""

import os
import sysconfig
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import torch
from torch import Tensor

Input = Tensor | float | None
# Runs a function, and returns what it returned and how to run it again on what is in its tensors
# then, with the results in those that it returned.
Record = Callable[[Callable[[], Sequence[Tensor]]], tuple[Sequence[Tensor], Callable[[], None]]]

# Runs before the recording, as torch's notes on CUDA graphs ask for: cuDNN tries its algorithms,
# and libraries allocate what they keep.
_WARM_UP = 3


def cuda_graph(run: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], Callable[[], None]]:
    """Record what a function launches on the current CUDA device."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        # Other threads, which read the next batches, may go on.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            results = run()
    return results, graph.replay


def can_compile() -> bool:
    """Whether `torch.compile` finds here what it needs for a GPU: Triton, and a compiler of C."""
    compiler = os.environ.get("CC") or which("gcc") or which("clang")
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return find_spec("triton") is not None and compiler is not None and headers.exists()


class Recorded:
    """A function of tensors, recorded at the first call with its inputs' shapes.

    The function must do the same at every call but for the values in its inputs and in tensors that
    stay where they are, such as a network's weights: numbers come as float64 tensors of no
    dimension, and what is absent at one call has to be absent at all.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        record: Record,
        device: torch.device,
        state: Sequence[Tensor] = (),
    ) -> None:
        """Get ready to record.

        Args:
            state: tensors that the function changes; the runs of the recording leave no trace.
        """
        self._function, self._record, self._device = function, record, device
        self._state = state
        self._inputs: list[Tensor | None] = []
        self._results: Sequence[Tensor] = ()
        self._replay: Callable[[], None] | None = None

    def _kept(self, value: Input) -> Tensor | None:
        if value is None:
            return None
        if isinstance(value, Tensor):
            return torch.empty_like(value)
        return torch.empty((), dtype=torch.float64, device=self._device)

    def __call__(self, *inputs: Input) -> tuple[Tensor, ...]:
        """The function's results, which later calls leave alone."""
        if self._replay is None:
            self._inputs = [self._kept(value) for value in inputs]
        for kept, value in zip(self._inputs, inputs, strict=True):
            if isinstance(value, Tensor):
                assert kept is not None
                kept.copy_(value)
            elif kept is not None and value is not None:
                kept.fill_(value)
        if self._replay is None:
            before = [tensor.clone() for tensor in self._state]
            results, self._replay = self._record(lambda: self._function(*self._inputs))
            self._results = results
            for tensor, value in zip(self._state, before, strict=True):
                tensor.copy_(value)
        self._replay()
        return tuple(result.clone() for result in self._results)
