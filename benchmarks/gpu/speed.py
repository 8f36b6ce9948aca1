"""Images per second of PGD and of adversarial training, against other libraries and recipes.

All get the same ResNet-18, the same batch of random images, and cuDNN's fastest algorithms. Each
round runs every contestant for half a second, in turn, so that a drift of the machine's speed meets
all of them; a figure is the median of the rounds, with the smallest and the largest.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atcore.attacks.pgd import PGD
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build
from atcore.training.data import Batch
from atcore.training.recorded import cuda_graph
from atcore.training.run import Training
from atcore.training.spec import TrainingSpec

# Of a forward pass of ResNet-18 at 32 px, an image; multiplications and additions.
_RESNET18_FLOP = 1.11e9
_ROUNDS, _SECONDS, _WARM_UP = 5, 0.5, 5
_LARGER_BATCHES = (256, 512)
Contestants = dict[str, Callable[[], object]]
Figure = dict[str, Any]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _rate(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Runs per second."""
    runs, started = 0, time.perf_counter()
    while True:
        run()
        runs += 1
        # Launches run ahead of the device: too many in the queue would outlast the round.
        if runs % _WARM_UP == 0 or device.type != "cuda":
            _wait(device)
            passed = time.perf_counter() - started
            if passed >= seconds:
                return runs / passed


def race(contestants: Contestants, device: torch.device, work: int, seconds: float) -> Figure:
    """Work per second of each, by its name: n, median, smallest and largest."""
    for run in contestants.values():
        for _ in range(_WARM_UP if device.type == "cuda" else 1):
            run()
    _wait(device)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(_ROUNDS):
        for name, run in contestants.items():
            rates[name].append(work * _rate(run, device, seconds))
    return {
        name: {"n": len(own), "median": statistics.median(own), "min": min(own), "max": max(own)}
        for name, own in rates.items()
    }


def matrix_rate(device: torch.device) -> Figure:
    """FLOP per second of a product of two square matrices, bfloat16 on a GPU, float32 on a CPU."""
    side, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (512, torch.float32)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return race({"product": lambda: a @ b}, device, 2 * side**3, _SECONDS)["product"]


def _ours(spec: TrainingSpec, model: ModelSpec, data: Batch) -> tuple[Training, Contestants]:
    device = data.images.device
    record = cuda_graph if device.type == "cuda" else None
    compile_from = 0 if device.type == "cuda" else math.inf
    training = Training(
        *(spec, model, len(data.labels), device), record=record, compile_from=compile_from
    )
    x = data.images.permute(0, 3, 1, 2).float().div(255)
    noise = torch.randn_like(x)

    def attack() -> object:
        return training.run("attack", len(x), x, data.labels, noise, 1.0)

    def step() -> None:
        for part in training.parts(data, step=0):
            training.update(part, rate=0.01)

    return training, {"attack": attack, "step": step}


def _libraries(network: nn.Module, x: Tensor, y: Tensor, attack: PGD) -> Contestants:
    """PGD of other libraries as they come, in float32."""
    import foolbox  # noqa: PLC0415
    import torchattacks  # noqa: PLC0415

    eps, size, steps = float(attack.threat.eps), float(attack.step_size), attack.steps
    theirs = torchattacks.PGD(network, eps=eps, alpha=size, steps=steps)
    pgd = foolbox.attacks.LinfPGD(abs_stepsize=size, steps=steps)
    wrapped = foolbox.PyTorchModel(network, bounds=(0, 1), device=x.device)
    return {
        "torchattacks": lambda: theirs(x, y),
        "foolbox": lambda: pgd.run(wrapped, x, y, epsilon=eps),
    }


def _common_recipe(model: ModelSpec, x: Tensor, y: Tensor, attack: PGD) -> Callable[[], object]:
    """A training step as most repositories have it: float32, and `backward()` in the attack."""
    network = build(model).to(x.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    eps, size = float(attack.threat.eps), float(attack.step_size)

    def step() -> None:
        network.eval()
        delta = torch.empty_like(x).uniform_(-eps, eps)
        for _ in range(attack.steps):
            delta.requires_grad_()
            F.cross_entropy(network((x + delta).clamp(0, 1)), y).backward()
            assert delta.grad is not None
            delta = (delta.detach() + size * delta.grad.sign()).clamp(-eps, eps)
        network.train()
        optimizer.zero_grad()
        F.cross_entropy(network((x + delta).clamp(0, 1)), y).backward()
        optimizer.step()

    return step


def measure(
    spec: TrainingSpec, model: ModelSpec, device: torch.device, tell: Callable[[str, Figure], None]
) -> None:
    """Tell figure by figure what is measured; `spec` has to be one with PGD.

    Where the other libraries are not installed, ours stands alone.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        _measure(spec, model, device, tell)


def _measure(
    spec: TrainingSpec, model: ModelSpec, device: torch.device, tell: Callable[[str, Figure], None]
) -> None:
    assert spec.attack is not None
    seconds = _SECONDS if device.type == "cuda" else 0.0
    matrix = matrix_rate(device)
    tell("matrix product, FLOP/s", matrix)
    steps = spec.attack.steps
    for batch in (spec.batch_size, *(_LARGER_BATCHES if device.type == "cuda" else ())):
        images = torch.randint(0, 256, (batch, 32, 32, 3), dtype=torch.uint8, device=device)
        labels = torch.randint(0, len(model.classes), (batch,), device=device)
        sized = replace(spec, batch_size=batch)
        training, ours = _ours(sized, model, Batch(images, labels))
        attacks, trainings = {"ours": ours["attack"]}, {"ours": ours["step"]}
        if batch == spec.batch_size:
            x = images.permute(0, 3, 1, 2).float().div(255)
            network = build(model).to(device).eval()
            try:
                attacks |= _libraries(network, x, labels, spec.attack)
            except ImportError as missing:
                tell("not measured", {"reason": str(missing)})
            trainings["common recipe"] = _common_recipe(model, x, labels, spec.attack)
        attacked = race(attacks, device, batch, seconds)
        trained = race(trainings, device, batch, seconds)
        if model.architecture == "resnet18":
            for figure, passes in ((attacked, 2 * steps), (trained, 2 * steps + 3)):
                flop = passes * _RESNET18_FLOP * figure["ours"]["median"]
                figure["ours"]["share of the matrix rate"] = flop / matrix["median"]
        tell(f"PGD-{steps} on batches of {batch}, images/s", attacked)
        tell(f"training step with PGD-{steps} on batches of {batch}, images/s", trained)
        del training
