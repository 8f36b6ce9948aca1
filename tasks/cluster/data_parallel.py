"""Training on several workers, which Ray Train places, connects and replaces when one is lost.

After every epoch the state goes to the storage that all nodes share, under a name for everything
the result depends on: a killed run goes on from there, a changed one does not.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow
import ray.train
import ray.train.torch
from ray.util.queue import Queue

from atcore.base.errors import UserError
from atcore.networks.architecture import ModelSpec
from atcore.training.data import splits
from atcore.training.loop import train
from atcore.training.progress import Epoch, Progress
from atcore.training.spec import TrainingSpec
from tasks.cluster import pool
from tasks.cluster.storage import SharedRun
from tasks.cluster.tables import SharedTable

_LOSSES = 2
_CHECKPOINT = "checkpoint.pt"
# How often Ray Train's controller asks the workers for news; by itself every two seconds, which is
# longer than a short epoch.
_INTERVAL = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}


class StorageError(Exception):
    """A worker cannot write a checkpoint; Ray Train tries again, as such losses often pass."""


@dataclass(frozen=True)
class _Job:
    """What every worker gets: `train`'s arguments, and the tables of its splits."""

    spec: TrainingSpec
    model: ModelSpec
    tables: Sequence[SharedTable]
    gpu_share: float


def _last_state() -> bytes | None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return Path(folder, _CHECKPOINT).read_bytes()


def _report(progress: Progress, rank: int) -> None:
    metrics = asdict(progress.history[-1])
    if rank > 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, _CHECKPOINT).write_bytes(progress.checkpoint)
        try:
            ray.train.report(metrics, ray.train.Checkpoint.from_directory(folder))
        except (OSError, pyarrow.ArrowException) as error:
            raise StorageError(" ".join(str(error).split())) from error


def _work(config: dict[str, _Job]) -> Progress | UserError | None:
    """One worker; that of rank 0 returns how training ended."""
    job, rank = config["job"], ray.train.get_context().get_world_rank()
    device = ray.train.torch.get_device()
    try:
        own = splits([table.open() for table in job.tables], device, job.gpu_share)
        epochs = train(
            job.spec, job.model, *own, checkpoint=_last_state(), device=device, rank=rank
        )
        for progress in epochs:
            _report(progress, rank)
    except UserError as error:
        # Not raised: Ray Train would try again, with the same end.
        return error
    return progress if rank == 0 else None


class _Observer(ray.train.UserCallback):
    """Passes on to the driver what Ray Train's controller hears from the workers."""

    def __init__(self, news: Queue) -> None:
        self._news = news

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002
        metrics: list[dict[str, Any]],
        checkpoint: Any,  # noqa: ARG002
    ) -> None:
        self._news.put(Epoch(**metrics[0]))

    def after_exception(
        self,
        run_context: Any,  # noqa: ARG002
        worker_exceptions: dict[int, Exception],
    ) -> None:
        failures = {f"{type(e).__name__}: {e}".split("\n")[0] for e in worker_exceptions.values()}
        self._news.put(", ".join(sorted(failures)))


def _resources(spec: TrainingSpec) -> dict[str, int]:
    """What each worker takes.

    Raises:
        UserError: the cluster will never have room for all workers at once.
    """
    wanted = {"CPU": pool.cpus(spec.threads), "GPU": pool.gpus()}
    resources = {name: amount for name, amount in wanted.items() if amount}
    room = pool.room(resources)
    if room < spec.workers:
        each = " and ".join(f"{amount} {name}" for name, amount in resources.items())
        raise UserError(
            f"workers: {spec.workers} is not allowed; "
            f"the cluster has room for {room}, each with {each}"
        )
    return resources


def _in_background(function: Callable[[], Any], then: Callable[[], None]) -> "Future[Any]":
    """Call a function in a thread that does not keep the process alive, and `then` at its end."""
    future: Future[Any] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)
        then()

    Thread(target=call, daemon=True).start()
    return future


def train_together(
    spec: TrainingSpec,
    model: ModelSpec,
    tables: Sequence[SharedTable],
    gpu_share: float,
    run: SharedRun,
    show: Callable[[Epoch], None],
) -> Progress:
    """Train on `spec.workers` workers; `show` is called with every epoch whose state is stored.

    Raises:
        UserError: the cluster has no room for the workers, the storage cannot be written or is
            not shared, or the training diverged.
    """
    for name, value in _INTERVAL.items():
        os.environ.setdefault(name, value)
    resources = _resources(spec)
    run.create()
    here = pool.only_on(pool.node())
    news = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    # Ray's annotations are still those of the first version of Ray Train.
    trainer = ray.train.torch.TorchTrainer(
        _work,  # type: ignore[arg-type]
        train_loop_config={"job": _Job(spec, model, tables, gpu_share)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=spec.workers,
            use_gpu="GPU" in resources,
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name=run.name,
            storage_path=run.storage,
            failure_config=ray.train.FailureConfig(max_failures=_LOSSES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            callbacks=[_Observer(news)],  # type: ignore[list-item]
        ),
    )
    fitted = _in_background(trainer.fit, then=lambda: news.put(None))
    while (heard := news.get()) is not None:
        if isinstance(heard, Epoch):
            show(heard)
        else:
            print(f"lost a worker ({heard}); going on from the last epoch", flush=True)
    try:
        end: Progress | UserError = fitted.result().return_value
    except ray.train.WorkerGroupError as error:
        for failure in error.worker_failures.values():
            if isinstance(failure, StorageError):
                raise UserError(
                    f"ray.storage: a worker cannot write to {run.storage} ({failure}); "
                    "mend that and run again: the epochs stored there are kept"
                ) from error
        raise
    if isinstance(end, UserError):
        raise end
    return end
