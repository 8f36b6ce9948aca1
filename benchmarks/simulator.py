"""How long the paper's full comparison takes on 1 to 1,000 GPUs, and what limits it first.

    python -m benchmarks.simulator [--rounds 3]

A discrete-event simulation of a flow run. A stage takes its turn, in order, at

    the flow's process (Prefect's engine), the driver's cores (start of the stage's process), the
    driver's network (inputs to the node, results back), a GPU, and DVC's lock (hashing its
    outputs, and an entry in dvc.lock);

it holds one of `jobs` places meanwhile, one per GPU. Image tables travel to a node once, for all
stages; the first node is the workspace's own, to which none travel. What the flow itself costs is
measured first, on this machine, and the simulation is checked against flow runs that were not used
to measure it. How long a stage computes on a GPU is derived from a measured rate: see `Gpu`.
"""

import argparse
import heapq
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks.flow import flow, independent, repository
from flows.parameters import PARAMS
from flows.pipeline import Pipeline
from flows.schedule import Schedule, makespan
from flows.server import prefect_server
from tasks.cluster.local import LocalCluster

MEGABYTE = 1e6
# Busier than this, a resource is what limits.
_SATURATED = 0.8
# With these an entry in dvc.lock is as long as those of this project are on average, 74 lines.
_PARAMETERS = ["run", "evaluate", "dataset.shapes", "method.pgd_linf_8"]


@dataclass(frozen=True)
class Costs:
    """What a run costs beside the computation; seconds and bytes.

    Attributes:
        run: of a flow run without stages.
        task: that the flow's process spends on a stage, one at a time.
        lock, lock_per_stage: that a stage holds DVC's lock, with an empty and per stage in a
            filled dvc.lock.
        hashing: bytes per second of outputs, under the lock.
        start: CPU time of the process that drives a stage.
        cores: of the driver's machine.
        network: bytes per second of the driver's machine.
        gpus: of a node.
    """

    run: float
    task: float
    lock: float
    lock_per_stage: float
    hashing: float
    start: float
    cores: int
    network: float
    gpus: int = 8


@dataclass(frozen=True)
class Work:
    """A stage: what it waits for, and seconds on a GPU.

    Attributes:
        tables: bytes of the image tables that it reads, by their names.
        sends: bytes that go to the node with the stage, such as a network.
        writes: bytes that come back.
    """

    after: tuple[str, ...]
    seconds: float
    tables: Mapping[str, float] = field(default_factory=dict)
    sends: float = 0.0
    writes: float = 0.0


class _Nodes:
    """Which GPUs are taken, and which image tables lie where."""

    def __init__(self, gpus: int, of_a_node: int) -> None:
        count = math.ceil(gpus / of_a_node)
        self._free = [min(of_a_node, gpus - number * of_a_node) for number in range(count)]
        self._kept: list[set[str]] = [set() for _ in range(count)]
        self._node_of: dict[str, int] = {}

    def take(self, name: str, tables: Mapping[str, float]) -> float:
        """Give a stage a GPU, where most of its tables are; returns bytes that have to travel."""

        def missing(node: int) -> float:
            return sum(size for table, size in tables.items() if table not in self._kept[node])

        free = [node for node, gpus in enumerate(self._free) if gpus]
        node = min(free, key=lambda node: missing(node) if node else 0.0)
        travels = missing(node) if node else 0.0
        self._kept[node] |= set(tables)
        self._free[node] -= 1
        self._node_of[name] = node
        return travels

    def leave(self, name: str) -> None:
        self._free[self._node_of.pop(name)] += 1


class _Servers:
    """A resource that serves its customers in order of arrival, `count` at a time."""

    def __init__(self, count: int) -> None:
        self._free_at = [0.0] * count
        self.busy = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """The time at which a customer that comes now is done."""
        end = max(now, heapq.heappop(self._free_at)) + seconds
        heapq.heappush(self._free_at, end)
        self.busy += seconds
        return end


@dataclass(frozen=True)
class Predicted:
    """Total seconds, what they would be at best, and what was busy for which share of them.

    Attributes:
        chain: seconds of the longest chain of stages, each at once after the one before.
        travelled: bytes of image tables that went to nodes.
    """

    seconds: float
    chain: float
    travelled: float
    busy: Mapping[str, float]

    @property
    def limit(self) -> str:
        """What to have more of, in words."""
        name, share = max(self.busy.items(), key=lambda item: item[1])
        if share < _SATURATED and self.chain > _SATURATED * self.seconds:
            return "the longest chain of stages"
        return f"{name} ({share:.0%})"


def simulate(works: Mapping[str, Work], costs: Costs, gpus: int) -> Predicted:
    """Run all stages with as many places as GPUs."""
    schedule = Schedule(
        {name: work.after for name, work in works.items()},
        {name: work.seconds for name, work in works.items()},
    )
    engine, network, lock = _Servers(1), _Servers(1), _Servers(1)
    cores = _Servers(costs.cores)
    steps = ("task", "start", "send", "compute", "receive", "finish")
    events: list[tuple[float, int, str]] = []
    nodes = _Nodes(gpus, costs.gpus)
    running, recorded, now, travelled = 0, 0, 0.0, 0.0
    while True:
        while running < gpus and (name := schedule.next()) is not None:
            heapq.heappush(events, (now, 0, name))
            running += 1
        if not events:
            break
        now, step, name = heapq.heappop(events)
        work = works[name]
        if step == len(steps):
            running -= 1
            nodes.leave(name)
            schedule.done(name)
            continue
        match steps[step]:
            case "task":
                end = engine.serve(now, costs.task)
            case "start":
                end = cores.serve(now, costs.start)
            case "send":
                travels = nodes.take(name, work.tables)
                travelled += travels
                end = network.serve(now, (travels + work.sends) / costs.network)
            case "compute":
                end = now + work.seconds
            case "receive":
                end = network.serve(now, work.writes / costs.network)
            case _:
                entry = costs.lock + recorded * costs.lock_per_stage
                end = lock.serve(now, entry + work.writes / costs.hashing)
                recorded += 1
        heapq.heappush(events, (end, step + 1, name))
    total = now + costs.run
    hashing = sum(work.writes for work in works.values()) / costs.hashing
    busy = {
        "GPUs": sum(work.seconds for work in works.values()) / gpus,
        "the flow's process": engine.busy,
        "DVC's lock": lock.busy - hashing,
        "hashing": hashing,
        "the driver's network": network.busy,
        "the driver's cores": cores.busy / costs.cores,
    }
    chain = makespan(
        {name: work.after for name, work in works.items()},
        {name: work.seconds for name, work in works.items()},
        len(works),
    )
    shares = {name: seconds / total for name, seconds in busy.items()}
    return Predicted(total, chain, travelled, shares)


# --- the paper's comparison -----------------------------------------------------------------------


@dataclass(frozen=True)
class Gpu:
    """What a GPU does.

    Attributes:
        flops: sustained in training; an H100 had 132e12 with PGD-10 and ResNet-18 on batches of 128
            images of 32 px (docs/results/cifar10_gpu.md).
        smallest_stage: seconds, assumed.
    """

    flops: float = 132e12
    smallest_stage: float = 5.0


@dataclass(frozen=True)
class _Dataset:
    """Images, how they are trained on, and multiply-adds of ResNet-18 for one image."""

    train: int
    test: int
    side: int
    epochs: int
    attack_steps: int
    macs: float

    @property
    def image(self) -> int:
        return 3 * self.side**2


PAPER = {
    "cifar10": _Dataset(50_000, 10_000, 32, 30, 10, 0.56e9),
    "tiny_imagenet": _Dataset(100_000, 10_000, 64, 40, 10, 0.15e9),
    "caltech256": _Dataset(24_500, 6_100, 256, 20, 20, 1.8e9),
}
IMAGENET = {"imagenet": _Dataset(1_281_000, 50_000, 256, 30, 10, 1.8e9)}
# Steps of the attack while training; None: as many as the dataset says.
ATTACK_STEPS = {
    "standard": 0,
    "underfit": 0,
    "fgsm_8": 1,
    "fgsm_16": 1,
    **{f"pgd_linf_{eps}": None for eps in (1, 2, 4, 8)},
    **{f"pgd_l2_{eps}": None for eps in (4, 8, 12)},
}
LEVELS = {"stylized": 1, "saturated": 5, "patch_shuffled": 3, "cue_conflict": 1}
_MODEL = 45 * MEGABYTE
_PREDICTION = 100


def comparison(datasets: Mapping[str, _Dataset], gpu: Gpu, seeds: int) -> dict[str, Work]:
    """Stages of all datasets, methods and seeds; a pass backward costs two passes forward."""
    works: dict[str, Work] = {}
    for dataset, data in datasets.items():
        forward = 2 * data.macs / gpu.flops
        train, test = (
            {f"{dataset} {split}": float(count * data.image)}
            for split, count in (("train", data.train), ("test", data.test))
        )
        (test_bytes,) = test.values()
        works[f"prepare {dataset}"] = Work(
            (), gpu.smallest_stage, writes=sum(train.values()) + test_bytes
        )
        variants, changed = [], {}
        for variant, levels in LEVELS.items():
            name = f"variants {dataset} {variant}"
            variants.append(name)
            changed[name] = levels * test_bytes
            works[name] = Work(
                *((f"prepare {dataset}",), gpu.smallest_stage, test), writes=levels * test_bytes
            )
        sets = 1 + sum(LEVELS.values())
        for seed in range(seeds):
            for method, steps in ATTACK_STEPS.items():
                model = f"{dataset} {method} {seed}"
                passes = 3 + 2 * (data.attack_steps if steps is None else steps)
                needed = "pgd_linf_8" if method == "underfit" else None
                works[f"train {model}"] = Work(
                    (f"train {dataset} {needed} {seed}" if needed else f"prepare {dataset}",),
                    max(gpu.smallest_stage, passes * forward * data.train * data.epochs),
                    train,
                    writes=_MODEL,
                )
                # Two attacks of 20 steps, and one pass over each variant.
                works[f"evaluate {model}"] = Work(
                    (f"train {model}", *variants),
                    max(gpu.smallest_stage, (2 * 20 * 2 + sets) * forward * data.test),
                    test | changed,
                    sends=_MODEL,
                    writes=sets * data.test * _PREDICTION,
                )
                works[f"salience {model}"] = Work(
                    (f"train {model}", *variants), gpu.smallest_stage, sends=_MODEL
                )
    works["report"] = Work(tuple(works), gpu.smallest_stage)
    return works


# --- measuring and checking -----------------------------------------------------------------------


def _step_seconds(root: Path, count: int) -> Iterator[float]:
    """Seconds under the lock of each of `count` stages, one after the other."""
    stages = independent(count, "true")
    described = {name: {**stage, "params": _PARAMETERS} for name, stage in stages.items()}
    pipeline = Pipeline(repository(root, described), root / PARAMS)
    with chdir(root), pipeline.reserved(plan := pipeline.plan([], force=False), __name__):
        for planned in plan:
            started = time.perf_counter()
            pipeline.begin(planned.name, force=False, pull=False)
            begun = time.perf_counter() - started
            command, folder, environment = pipeline.command(planned.name)
            subprocess.run(command, cwd=folder, env=os.environ | environment, check=True)
            started = time.perf_counter()
            pipeline.finish(planned.name)
            yield begun + time.perf_counter() - started


def _hashing(folder: Path, size: int) -> float:
    """Bytes per second of saving an output, hash and cache included."""
    command = f"head -c {size} /dev/urandom > big"
    stages = {"big": {"cmd": command, "deps": ["input.txt"], "outs": ["big"]}}
    pipeline = Pipeline(repository(folder, stages), folder / PARAMS)
    with chdir(folder), pipeline.reserved(pipeline.plan([], force=False), __name__):
        pipeline.begin("big", force=False, pull=False)
        subprocess.run(command, cwd=folder, shell=True, check=True)
        started = time.perf_counter()
        pipeline.finish("big")
        return size / (time.perf_counter() - started)


def measure(folder: Path) -> Costs:
    """The flow's own costs on this machine; needs the Prefect server."""
    count = 100
    seconds = list(_step_seconds(folder / "steps", count))
    # A line through the medians of the first and the last quarter.
    quarter = count // 4
    first, last = median(seconds[:quarter]), median(seconds[-quarter:])
    slope = max(0.0, (last - first) / (count - quarter))
    lock = first - slope * quarter / 2
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tasks.train"], check=True)
    start = time.perf_counter() - started
    few = 40
    root = repository(folder / "few", independent(few, "true"))
    whole, empty = flow(root, jobs=1)[1], flow(root)[1]
    return Costs(
        run=empty,
        task=max(0.0, (whole - empty) / few - lock - slope * few / 2),
        lock=lock,
        lock_per_stage=slope,
        hashing=_hashing(folder / "hash", int(500 * MEGABYTE)),
        start=start,
        cores=os.cpu_count() or 1,
        network=math.inf,
    )


def check(folder: Path, costs: Costs, rounds: int) -> None:
    """Predicted against measured times of runs that were not used to measure the costs."""
    # A shell costs next to nothing where a stage of the project imports Ray.
    shell = replace(costs, start=0.0)
    for count, seconds, jobs in ((8, 10, 8), (60, 2, 8), (100, 1, 16), (40, 3, 4)):
        works = {str(i): Work((), seconds) for i in range(count)}
        predicted = simulate(works, shell, jobs).seconds
        measured = []
        for number in range(rounds):
            root = repository(
                folder / f"check{count}-{number}", independent(count, f"sleep {seconds}")
            )
            measured.append(flow(root, jobs=jobs)[1])
        print(
            f"check: {count} stages of {seconds} s with jobs={jobs}: predicted {predicted:.1f} s, "
            f"measured {median(measured):.1f} [{min(measured):.1f}, {max(measured):.1f}] s, "
            f"n = {rounds}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "prefect").mkdir()
        url = stack.enter_context(prefect_server(folder / "prefect"))
        os.environ["PREFECT_API_URL"] = f"{url}/api"
        os.environ.update(stack.enter_context(LocalCluster()).environment())
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        costs = measure(folder)
        print(costs)
        check(folder, costs, options.rounds)
    # A driver of the size that such a cluster has: assumed.
    gpu, costs = Gpu(), replace(costs, cores=32, network=1.25e9)
    print(gpu, costs)
    for title, datasets, seeds in (
        ("the paper", PAPER, 3),
        ("the paper", PAPER, 30),
        ("ImageNet-1k", IMAGENET, 3),
    ):
        works = comparison(datasets, gpu, seeds)
        hours = sum(work.seconds for work in works.values()) / 3600
        print(f"{title}, {seeds} seeds: {len(works)} stages, {hours:.0f} GPU hours")
        for gpus in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000):
            predicted = simulate(works, costs, gpus)
            print(
                f"| {gpus} | {predicted.seconds / 3600:.2f} h | {predicted.busy['GPUs']:.0%} "
                f"| {predicted.travelled / 1e9:.0f} GB | {predicted.limit} |"
            )


if __name__ == "__main__":
    main()
