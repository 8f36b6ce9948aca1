"""The one place that connects to Ray.

`RAY_ADDRESS` names the cluster to use; without it every stage starts a local one for itself.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import AuthenticationError, OutOfDiskError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import atcore
import tasks
from atcore.errors import UserError
from tasks import disk
from tasks.progress import track
from tasks.stage import LostMachineError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PROBE_SECONDS = 5
# How long a thread spins at a barrier (some 20 us) before it sleeps: the default slows threads down
# tenfold where cores are shared, no spinning at all by a half where they are not.
_WORKER_ENVIRONMENT = {"GOMP_SPINCOUNT": "10000"}
# Enough that no CPU waits for the driver, few enough to hold all inputs in memory.
_QUEUED_PER_CPU = 3
# Quiet defaults for every process of ours; a user's own settings win.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


def _require_reachable(address: str) -> None:
    """Ray itself retries for 20 s and then says nothing of the address; a probe is instant."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise UserError(f"RAY_ADDRESS: {address!r} is not allowed; give host:port")
    try:
        socket.create_connection((host, int(port)), timeout=_PROBE_SECONDS).close()
    except OSError as error:
        raise UserError(f"RAY_ADDRESS: no Ray cluster answers at {address} ({error})") from error


@contextmanager
def connect() -> Iterator[None]:
    """Connect to the cluster of `RAY_ADDRESS`, or start a local one, for the time of the block.

    Workers receive the project's code from here, so that a node needs neither the workspace nor
    an installation of the project.

    Raises:
        UserError: `RAY_ADDRESS` names a cluster that cannot be reached or refuses the token.
        OSError: Ray's folder is full.
        LostMachineError: a machine that the block's work needs was lost.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _require_reachable(address)
    disk.require_room_for_ray()
    runtime = {
        "py_modules": [str(Path(module.__path__[0])) for module in (atcore, tasks)],
        "env_vars": _WORKER_ENVIRONMENT,
    }
    # "local" keeps Ray from joining whatever cluster was last started on this machine.
    options: dict[str, Any] = (
        {"address": address} if address else {"address": "local", "include_dashboard": False}
    )
    try:
        # Workers give results and errors back as values; what they print stays in Ray's logs.
        ray.init(logging_level=logging.ERROR, log_to_driver=False, runtime_env=runtime, **options)
    except (ConnectionError, AuthenticationError) as error:
        raise UserError(
            f"RAY_ADDRESS: the cluster at {address} refused the connection; "
            "check RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH"
        ) from error
    try:
        yield
    except RayTaskError:
        raise
    except OutOfDiskError as error:
        raise disk.full(disk.rays_folder()) from error
    except RayError as error:
        if disk.is_full(error):
            raise
        name = type(error).__name__
        raise LostMachineError(f"the Ray cluster lost a machine ({name}): {error}") from error
    finally:
        ray.shutdown()


def nodes() -> list[dict[str, Any]]:
    """The nodes that are alive, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def only_on(node: str) -> NodeAffinitySchedulingStrategy:
    """The scheduling strategy of what has to run on the node of that id."""
    return NodeAffinitySchedulingStrategy(node, soft=False)


def gpus() -> int:
    """GPUs of one task: one where the cluster has any."""
    return 1 if ray.cluster_resources().get("GPU", 0) else 0


def cpus(wanted: int) -> int:
    """As many CPUs as wanted, or all that the largest node has."""
    most = max((node["Resources"].get("CPU", 0) for node in nodes()), default=1)
    return max(1, min(wanted, int(most)))


def room(resources: Mapping[str, int]) -> int:
    """How many tasks that each take these resources run at once on a cluster without other work."""
    return sum(
        min(int(node["Resources"].get(name, 0) // each) for name, each in resources.items())
        for node in nodes()
    )


@contextmanager
def users_mistakes() -> Iterator[None]:
    """Turn a `UserError` or a full disk that was met on a worker back into itself."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, UserError) or disk.is_full(error.cause):
            raise error.cause from None
        raise


def spread(
    function: Callable[..., Result],
    items: Iterable[Item],
    *shared: Any,
    total: int,
    label: str,
    gpu: bool = False,
) -> list[Result]:
    """`[function(item, *shared) for item in items]`, each call one Ray task.

    Items are drawn as the cluster has room for them, so that an iterator of large items never
    lies in memory as a whole.

    Args:
        shared: sent to the cluster once.
        total: the number of items, for the progress display.
        label: what the progress display calls the work.
        gpu: give each task a GPU where the cluster has one.

    Raises:
        UserError: a call raised it; the calls still running are cancelled.
    """
    remote = ray.remote(num_cpus=1, num_gpus=gpus() if gpu else 0)(function)
    references = [ray.put(argument) for argument in shared]
    room = _QUEUED_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    results: dict[int, Result] = {}
    pending: dict[Any, int] = {}
    queue = enumerate(items)
    try:
        with users_mistakes(), track(label, total) as advance:
            while True:
                for index, item in islice(queue, room - len(pending)):
                    pending[remote.remote(item, *references)] = index
                if not pending:
                    return [results[index] for index in range(len(results))]
                (done, *_), _ = ray.wait(list(pending))
                results[pending[done]] = ray.get(done)
                del pending[done]
                advance(1, "")
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)
