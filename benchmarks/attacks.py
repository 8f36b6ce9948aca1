"""Adversarial training steps per second: ours against the same step with other libraries' PGD.

    python -m benchmarks.attacks [--architecture small|resnet18] [--steps 3] ...

Each round times one whole training step (attack and update) of every contestant on the same batch,
in turn, so that a drift of the machine's speed meets all of them. "spatial" is our step with flows,
for which the other libraries have no PGD; "replay" is one update of free training. Prints the time
per step and the ratio to ours, round by round: median, minimum and maximum; and which share our
step reaches of the rate of a matrix product, in float32 and in the precision in which ours
computes, measured in the same rounds. Writes nothing.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import TypeVar

import foolbox
import torch
import torch.nn.functional as F
import torchattacks
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial
from atcore.attacks.threats import Linf
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build
from atcore.networks.precision import resolved
from atcore.training.data import Batch
from atcore.training.run import Training
from atcore.training.spec import TrainingSpec

EPS, STEP_SIZE = 8 / 255, 2 / 255
# Of the matrices that are multiplied.
_SIDE = 1024
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_CPU = torch.device("cpu")
Name = TypeVar("Name")
Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _ours(spec: TrainingSpec, model: ModelSpec, data: Batch) -> Callable[[], None]:
    training = Training(spec, model, len(data.labels), _CPU)

    def step() -> None:
        for part in training.parts(data, step=0):
            training.update(part, rate=0.01)

    return step


def _theirs(model_spec: ModelSpec, x: Tensor, y: Tensor, attack: Attack) -> Callable[[], None]:
    model = build(model_spec)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        model.eval()
        adversarial = attack(model, x, y)
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(adversarial), y).backward()
        optimizer.step()

    return step


def _torchattacks(steps: int) -> Attack:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return torchattacks.PGD(model, eps=EPS, alpha=STEP_SIZE, steps=steps)(x, y)

    return attack


def _foolbox(steps: int) -> Attack:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        pgd = foolbox.attacks.LinfPGD(abs_stepsize=STEP_SIZE, steps=steps)
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        return pgd.run(wrapped, x, y, epsilon=EPS)

    return attack


def _flop(model_spec: ModelSpec, x: Tensor, y: Tensor, steps: int) -> int:
    """Multiplications and additions of a step, where every convolution is computed as a sum."""
    network = build(model_spec)

    def counted(image: Tensor) -> int:
        with FlopCounterMode(display=False) as counter:
            F.cross_entropy(network(image), y).backward()
        return int(counter.get_total_flops())

    update = counted(x)
    network.requires_grad_(False)
    # Not a leaf, which the counter takes for a parameter.
    return update + steps * counted(x.clone().requires_grad_() + 0)


def product(precision: str) -> Callable[[], None]:
    """The product of two square matrices, which tells what the processor can do."""
    a, b = torch.randn(2, _SIDE, _SIDE).to(TYPES[precision])

    def multiply() -> None:
        torch.mm(a, b)

    return multiply


def rate(seconds: float) -> float:
    """GFLOP/s of a `product` that takes so long."""
    return 2e-9 * _SIDE**3 / seconds


def in_turn(calls: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, list[float]]:
    """Seconds of each call in each round, after two rounds to warm up."""
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for warm in [False] * 2 + [True] * rounds:
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if warm:
                times[name].append(time.perf_counter() - started)
    return times


def arguments() -> argparse.ArgumentParser:
    """Which step of which training."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--architecture", default="small")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    return parser


def asked(options: argparse.Namespace) -> tuple[ModelSpec, TrainingSpec]:
    """The network and the training that the arguments name."""
    model = ModelSpec(options.architecture, tuple("abcdefgh"), 32, (0.5,) * 3, (0.25,) * 3)
    spec = TrainingSpec(
        epochs=1000,
        batch_size=options.batch,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        attack=PGD(threat=Linf(EPS), step_size=STEP_SIZE, steps=options.steps),
        attack_mode="eval",
        eps_warmup=0.0,
        validation_attack=None,
        augment="none",
        precision=options.precision,
        threads=options.threads,
        stop_at_accuracy=None,
        seed=0,
    )
    return model, spec


def main() -> None:
    parser = arguments()
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    model, spec = asked(options)
    images = torch.randint(0, 256, (options.batch, 32, 32, 3), dtype=torch.uint8)
    data = Batch(images, torch.randint(0, 8, (options.batch,)))
    x = images.permute(0, 3, 1, 2).float() / 255
    flows = PGD(threat=Spatial(0.5, smoothness=0.005), step_size=0.25, steps=options.steps)
    one_step = PGD(threat=Linf(EPS), step_size=EPS, steps=1, random_start=False)
    contestants = {
        "ours": _ours(spec, model, data),
        "spatial": _ours(replace(spec, attack=flows), model, data),
        "replay": _ours(replace(spec, attack=one_step, replays=1), model, data),
        "torchattacks": _theirs(model, x, data.labels, _torchattacks(options.steps)),
        "foolbox": _theirs(model, x, data.labels, _foolbox(options.steps)),
    }
    precision = resolved(spec.precision, _CPU)
    products = {each: product(each) for each in sorted({"fp32", precision}, reverse=True)}
    flop = _flop(model, x, data.labels, options.steps)
    times = in_turn(contestants | products, options.runs)
    named = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchattacks", "foolbox"))
    print(
        f"{options.architecture}, batch {options.batch}, PGD-{options.steps}, "
        f"{options.threads} threads on {platform.machine()}, ours in {precision}, "
        f"n = {options.runs}; {named}\n"
    )
    print("| | ms per step | times ours |\n|---|---|---|")
    for name in contestants:
        seconds = times[name]
        ratios = [theirs / ours for theirs, ours in zip(seconds, times["ours"], strict=True)]
        print(
            f"| {name} | {1000 * statistics.median(seconds):.1f} "
            f"| {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] |"
        )
    for name in products:
        rounds = zip(times["ours"], times[name], strict=True)
        shares = [1e-9 * flop / ours / rate(own) for ours, own in rounds]
        print(
            f"\nA matrix product in {name} runs at "
            f"{rate(statistics.median(times[name])):.0f} GFLOP/s, of which our step "
            f"reaches {statistics.median(shares):.0%} [{min(shares):.0%}, {max(shares):.0%}]."
        )


if __name__ == "__main__":
    main()
