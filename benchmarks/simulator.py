"""How long the paper's full comparison takes on 1 to 1,000 GPUs, and what limits it first.

    python -m benchmarks.simulator [--rounds 3]

A discrete-event simulation of a flow run. A stage takes its turn, in order, at

    the driver's cores (start of its process), the driver's network (inputs to the nodes, results
    back), a GPU, and DVC's lock (hashing its outputs, and an entry in dvc.lock);

it holds one of `jobs` places meanwhile, one per GPU. What the flow itself costs is measured first,
on this machine, and the simulation is checked against flow runs that were not used to measure it.
How long a stage computes on a GPU is an assumption, printed with the table: see `Gpu`.
"""

import argparse
import heapq
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.flow import flow, independent, prefect_server, repository
from flows.pipeline import Pipeline
from flows.schedule import Schedule
from tasks.local_cluster import local_cluster

MEGABYTE = 1e6


@dataclass(frozen=True)
class Costs:
    """What a run costs beside the computation; seconds and bytes.

    Attributes:
        lock, lock_per_stage: that a stage holds DVC's lock, with an empty and per stage in a
            filled dvc.lock (which is written as a whole).
        hashing: bytes per second of outputs, under the lock.
        start: CPU time of the process that drives a stage.
        cores: of the driver's machine.
        network: bytes per second of the driver's machine.
    """

    lock: float
    lock_per_stage: float
    hashing: float
    start: float
    cores: int
    network: float


@dataclass(frozen=True)
class Work:
    """A stage: what it waits for, seconds on a GPU, bytes it reads and writes."""

    after: tuple[str, ...]
    seconds: float
    reads: float = 0.0
    writes: float = 0.0


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
    """Total seconds, and the share of them that each resource was busy."""

    seconds: float
    busy: Mapping[str, float]


def simulate(works: Mapping[str, Work], costs: Costs, gpus: int) -> Predicted:
    """Run all stages with as many places as GPUs."""
    schedule = Schedule(
        {name: work.after for name, work in works.items()},
        {name: work.seconds for name, work in works.items()},
    )
    cores, network, lock = _Servers(costs.cores), _Servers(1), _Servers(1)
    steps = ("start", "send", "compute", "receive", "finish")
    events: list[tuple[float, int, str]] = []
    running, recorded, now, computing = 0, 0, 0.0, 0.0
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
            schedule.done(name)
            continue
        match steps[step]:
            case "start":
                end = cores.serve(now, costs.start)
            case "send":
                end = network.serve(now, work.reads / costs.network)
            case "compute":
                end = now + work.seconds
                computing += work.seconds
            case "receive":
                end = network.serve(now, work.writes / costs.network)
            case _:
                entry = costs.lock + recorded * costs.lock_per_stage
                end = lock.serve(now, entry + work.writes / costs.hashing)
                recorded += 1
        heapq.heappush(events, (end, step + 1, name))
    hashing = sum(work.writes for work in works.values()) / costs.hashing
    busy = {
        "GPUs": computing / gpus,
        "DVC's lock": lock.busy - hashing,
        "hashing": hashing,
        "the driver's network": network.busy,
        "the driver's cores": cores.busy / costs.cores,
    }
    return Predicted(now, {name: seconds / now for name, seconds in busy.items()})


# --- the paper's comparison -----------------------------------------------------------------------


@dataclass(frozen=True)
class Gpu:
    """Assumed, not measured: sustained rate of training and how much evaluation there is."""

    flops: float = 50e12
    smallest_stage: float = 5.0


@dataclass(frozen=True)
class _Dataset:
    train: int
    test: int
    side: int
    epochs: int
    # Multiply-adds of ResNet-18 for one image.
    macs: float

    @property
    def image(self) -> int:
        return 3 * self.side**2


DATASETS = {
    "cifar10": _Dataset(50_000, 10_000, 32, 30, 0.56e9),
    "tiny_imagenet": _Dataset(100_000, 10_000, 64, 40, 0.15e9),
    "caltech256": _Dataset(24_500, 6_100, 224, 60, 1.8e9),
}
ATTACK_STEPS = {
    "standard": 0,
    "underfit": 0,
    "fgsm_8": 1,
    "fgsm_16": 1,
    **{f"pgd_linf_{eps}": 10 for eps in (1, 2, 4, 8)},
    **{f"pgd_l2_{eps}": 10 for eps in (4, 8, 12)},
}
LEVELS = {"stylized": 1, "saturated": 5, "patch_shuffled": 3, "cue_conflict": 1}
SEEDS = 3
_MODEL = 45 * MEGABYTE
_PREDICTION = 100


def paper(gpu: Gpu) -> dict[str, Work]:
    """Stages of all datasets, methods and seeds; a pass backward costs two passes forward."""
    works: dict[str, Work] = {}
    for dataset, data in DATASETS.items():
        forward = 2 * data.macs / gpu.flops
        train_bytes, test_bytes = data.train * data.image, data.test * data.image
        works[f"prepare {dataset}"] = Work((), gpu.smallest_stage, writes=train_bytes + test_bytes)
        variants = []
        for variant, levels in LEVELS.items():
            name = f"variants {dataset} {variant}"
            variants.append(name)
            works[name] = Work(
                (f"prepare {dataset}",),
                gpu.smallest_stage,
                reads=test_bytes,
                writes=levels * test_bytes,
            )
        sets = 1 + sum(LEVELS.values())
        for seed in range(SEEDS):
            for method, steps in ATTACK_STEPS.items():
                model = f"{dataset} {method} {seed}"
                passes = 3 + 2 * steps
                needed = "pgd_linf_8" if method == "underfit" else None
                works[f"train {model}"] = Work(
                    (f"train {dataset} {needed} {seed}" if needed else f"prepare {dataset}",),
                    max(gpu.smallest_stage, passes * forward * data.train * data.epochs),
                    reads=train_bytes,
                    writes=_MODEL,
                )
                # Two attacks of 20 steps, and one pass over each variant.
                works[f"evaluate {model}"] = Work(
                    (f"train {model}", *variants),
                    max(gpu.smallest_stage, (2 * 20 * 2 + sets) * forward * data.test),
                    reads=sets * test_bytes + _MODEL,
                    writes=sets * data.test * _PREDICTION,
                )
                works[f"salience {model}"] = Work(
                    (f"train {model}", *variants), gpu.smallest_stage, reads=_MODEL
                )
    works["report"] = Work(tuple(works), gpu.smallest_stage)
    return works


# --- measuring and checking -----------------------------------------------------------------------


def _step_seconds(root: Path, count: int) -> Iterator[float]:
    """Seconds under the lock of each of `count` stages, one after the other."""
    pipeline = Pipeline(repository(root, independent(count, "true")))
    plan = pipeline.plan([], force=False)
    with chdir(root), pipeline.reserved(plan):
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
    pipeline = Pipeline(repository(folder, stages))
    with chdir(folder), pipeline.reserved(pipeline.plan([], force=False)):
        pipeline.begin("big", force=False, pull=False)
        subprocess.run(command, cwd=folder, shell=True, check=True)
        started = time.perf_counter()
        pipeline.finish("big")
        return size / (time.perf_counter() - started)


def measure(folder: Path, network: float) -> Costs:
    """The flow's own costs on this machine."""
    count = 100
    seconds = list(_step_seconds(folder / "steps", count))
    # A line through the medians of the first and the last quarter.
    quarter = count // 4
    first, last = median(seconds[:quarter]), median(seconds[-quarter:])
    slope = max(0.0, (last - first) / (count - quarter))
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tasks.train"], check=True)
    start = time.perf_counter() - started
    return Costs(
        lock=first - slope * quarter / 2,
        lock_per_stage=slope,
        hashing=_hashing(folder / "hash", int(500 * MEGABYTE)),
        start=start,
        cores=os.cpu_count() or 1,
        network=network,
    )


def check(folder: Path, costs: Costs, rounds: int) -> None:
    """Predicted against measured times of runs that were not used to measure the costs."""
    # A shell costs next to nothing where a stage of the project imports torch.
    shell = replace(costs, start=0.0)
    for count, seconds, jobs in ((8, 10, 8), (60, 2, 8), (100, 1, 16)):
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
    parser.add_argument("--network", type=float, default=1.25e9, help="bytes/s of the driver")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "prefect").mkdir()
        costs = measure(folder, options.network)
        print(costs)
        os.environ["PREFECT_API_URL"] = stack.enter_context(prefect_server(folder / "prefect"))
        os.environ.update(stack.enter_context(local_cluster()))
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        check(folder, costs, options.rounds)
    gpu = Gpu()
    works = paper(gpu)
    # A driver of the size that such a cluster has.
    costs = replace(costs, cores=32)
    total = sum(work.seconds for work in works.values())
    print(f"{gpu}, {costs}\n{len(works)} stages, {total / 3600:.1f} GPU hours")
    for gpus in (1, 2, 4, 8, 16, 32, 64, 128, 256, 1000):
        predicted = simulate(works, costs, gpus)
        name, share = max(predicted.busy.items(), key=lambda item: item[1])
        print(
            f"| {gpus} | {predicted.seconds / 3600:.2f} h | {predicted.busy['GPUs']:.0%} "
            f"| {name} ({share:.0%}) |"
        )


if __name__ == "__main__":
    main()
