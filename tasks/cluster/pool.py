"""The one place that connects to Ray.

`RAY_ADDRESS` names the cluster to use. Without it the stages of one DVC process share a local one,
and a command that is run by hand starts its own.
"""

import atexit
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config
from ray.exceptions import AuthenticationError, OutOfDiskError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from atcore.base.errors import UserError
from tasks.cluster import kept, watch
from tasks.cluster.local import WORKER_ENVIRONMENT, LocalCluster
from tasks.console.command import LostMachineError
from tasks.console.progress import track
from tasks.processes import disk, dvc
from tasks.processes.addresses import answers, probe

Item = TypeVar("Item")
Result = TypeVar("Result")

# Enough that no CPU waits for the driver, few enough to hold all inputs in memory.
_QUEUED_PER_CPU = 3
_PROJECT = Path(__file__).parents[2]
# For how long a part of the cluster may be silent. The client's own node does not come back; a head
# may, and Ray's client waits for it, but for 60 s and not longer.
_NODE_SECONDS = 2
_HEAD_SECONDS = 50
# Quiet defaults for every process of ours; a user's own settings win.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


def _require_reachable(address: str) -> None:
    """Ray itself retries for 20 s and then says nothing of the address; a probe is instant."""
    try:
        probe(address)
    except ValueError as error:
        raise UserError(f"RAY_ADDRESS: {error}") from error
    except OSError as error:
        raise UserError(f"RAY_ADDRESS: no Ray cluster answers at {address} ({error})") from error


def _read_environment() -> None:
    """Let Ray read again what it has read when it was imported."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    ray_constants.ENABLE_RAY_CLUSTER = ray_constants.env_bool(name, True)


@contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """This process with these variables in its environment, as if it had started with them."""
    before = {name: os.environ[name] for name in changes if name in os.environ}
    os.environ.update(changes)
    _read_environment()
    try:
        yield
    finally:
        for name in changes:
            del os.environ[name]
        os.environ.update(before)
        _read_environment()


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing on standard error, where Ray's client complains of the calls that end with it."""
    sys.stderr.flush()
    said = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(said, 2)
        os.close(said)


@contextmanager
def connect() -> Iterator[None]:
    """Connect to the cluster of `RAY_ADDRESS`, or to a local one, for the time of the block.

    The command of a stage stays connected until it ends, unless the block raises.

    Workers receive the project's code from here, so that a node needs neither the workspace nor
    an installation of the project.

    If the cluster is lost, this process ends out of order: `tasks.console.command` says so, and
    begins again where that is of use. It leaves what a kill leaves.

    Raises:
        UserError: `RAY_ADDRESS` names a cluster that cannot be reached or refuses the token.
        NotStartedError: a local cluster did not start.
        OSError: Ray's folder is full.
        LostMachineError: a machine that the block's work needs was lost.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    disk.require_room_for_ray()
    # What has imported Ray may have had another one.
    _read_environment()
    with ExitStack() as stack:
        if not os.environ.get("RAY_ADDRESS"):
            own = kept.environment() or stack.enter_context(LocalCluster()).environment()
            stack.enter_context(environment(own))
        stack.enter_context(_connected(os.environ["RAY_ADDRESS"]))
        yield
        if dvc.is_stage():
            # Its end will do: to take leave of Ray lasts a quarter of a second.
            atexit.register(stack.pop_all().close)


@contextmanager
def _losses(address: str) -> Iterator[None]:
    """Say which of Ray's errors in the block mean a full disk, and which the loss of a machine."""
    try:
        yield
    except RayTaskError:
        raise
    except OutOfDiskError as error:
        raise disk.full(disk.rays_folder()) from error
    except RayError as error:
        if disk.is_full(error):
            raise
        if not answers(address):
            watch.end()
        reason = " ".join(str(error).split())
        name = type(error).__name__
        raise LostMachineError(f"the Ray cluster lost a machine ({name}): {reason}") from error


@contextmanager
def _connected(address: str) -> Iterator[None]:
    _require_reachable(address)
    runtime = {
        "py_modules": [str(_PROJECT / package) for package in ("atcore", "tasks")],
        "env_vars": WORKER_ENVIRONMENT,
    }
    try:
        # Workers give results and errors back as values; what they print stays in Ray's logs.
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, runtime_env=runtime)
    except (ConnectionError, AuthenticationError) as error:
        raise UserError(
            f"RAY_ADDRESS: the cluster at {address} refused the connection; "
            "check RAY_AUTH_MODE and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from error
    with watch.watched({_own_node(): _NODE_SECONDS, address: _HEAD_SECONDS}):
        try:
            with _losses(address):
                yield
        except BaseException:
            with _silence():
                ray.shutdown()
            raise
        ray.shutdown()


def node() -> str:
    """Id of the node that this process is a client of, or a worker on."""
    return ray.get_runtime_context().get_node_id()


def _own_node() -> str:
    """Address of the node that this process is a client of."""
    own = node()
    (found,) = (other for other in nodes() if other["NodeID"] == own)
    return f"{found['NodeManagerAddress']}:{found['NodeManagerPort']}"


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


def _within(folder: Path, function: Callable[..., Result], *arguments: Any) -> Result:
    with chdir(folder):
        return function(*arguments)


def call(function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(*arguments)` in this folder, on a worker of the workspace's own node.

    Raises:
        UserError: the function raised it.
    """
    remote = ray.remote(num_cpus=0, scheduling_strategy=only_on(node()))(_within)
    with users_mistakes():
        result: Result = ray.get(remote.remote(Path.cwd(), function, *arguments))
        return result


def spread(
    function: Callable[..., Result],
    items: Iterable[Item],
    *shared: Any,
    total: int,
    label: str,
    gpu: bool = False,
    weigh: Callable[[Item], int] = lambda _: 1,
) -> Iterator[Result]:
    """Yield `function(item, *shared)` for each item, in their order; each call is one Ray task.

    Items are drawn as results are taken: of both, a few for each CPU are in memory.

    Args:
        shared: sent to the cluster once.
        total: weight of all items, for the progress display.
        label: what the progress display calls the work.
        gpu: give each task a GPU where the cluster has one.
        weigh: weight of an item.

    Raises:
        UserError: a call raised it. Those still running end with the connection: Ray's client may
            crash where a call returns while it is cancelled.
    """
    remote = ray.remote(num_cpus=1, num_gpus=gpus() if gpu else 0)(function)
    references = [ray.put(argument) for argument in shared]
    room = _QUEUED_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    remaining = iter(items)
    pending: deque[tuple[Any, int]] = deque()
    with users_mistakes(), track(label, total) as advance:
        while True:
            for item in islice(remaining, room - len(pending)):
                pending.append((remote.remote(item, *references), weigh(item)))
            if not pending:
                return
            reference, weight = pending[0]
            result = ray.get(reference)
            pending.popleft()
            advance(weight, "")
            yield result
