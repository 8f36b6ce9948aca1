"""Long work in one Ray task that goes on where it was when a worker was lost or the stage killed.

The task streams its state back; the driver keeps it in a checkpoint outside DVC's outs, keyed by
everything the result depends on.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

from atcore.base.files import write_bytes
from tasks.cluster import pool

_LOST = (WorkerCrashedError, NodeDiedError, OutOfMemoryError)
_ATTEMPTS = 3


class State(Protocol):
    """What the work yields: bytes that it resumes from, and whatever else."""

    @property
    def checkpoint(self) -> bytes: ...


S = TypeVar("S", bound=State)


def run_name(settings: object, files: Iterable[Path]) -> str:
    """A hash of everything that decides the result: parameters, data and code, and torch itself."""
    key = hashlib.sha256(repr((settings, version("torch"))).encode())
    for file in files:
        with file.open("rb") as stream:
            key.update(hashlib.file_digest(stream, "sha256").digest())
    return key.hexdigest()


def states(
    work: Callable[..., Iterator[S]], *arguments: Any, saved: Path, threads: int
) -> Iterator[S]:
    """All states still to come of `work(*arguments, checkpoint)`, each saved, across lost workers.

    Args:
        saved: file of the checkpoint; `work` gets its content, or None where there is none.
        threads: CPUs of the task, which also takes a GPU where the cluster has one.
    """
    task = ray.remote(num_cpus=pool.cpus(threads), num_gpus=pool.gpus(), max_retries=0)(work)
    references = [ray.put(argument) for argument in arguments]
    for attempt in range(1, _ATTEMPTS + 1):
        checkpoint = saved.read_bytes() if saved.exists() else None
        try:
            with pool.users_mistakes():
                stream: Any = task.remote(*references, checkpoint)
                for reference in stream:
                    state: S = ray.get(reference)
                    write_bytes(saved, state.checkpoint)
                    yield state
        except _LOST as error:
            if attempt == _ATTEMPTS:
                raise
            print(f"lost the worker ({type(error).__name__}); going on from the last state")
        else:
            return
