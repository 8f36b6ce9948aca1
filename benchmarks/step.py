"""What a step of adversarial training is made of: its convolutions, and all the rest.

    python -m benchmarks.step [--architecture small|resnet18] [--batch 64] [--precision fp32] ...

Each round times an attack and an update of ours as a whole, and in turn every convolution of the
network alone, on tensors of the same shape, precision and layout: forward, and the gradients of its
input and of its kernel. What the whole takes beyond these is what lies between them: ReLU,
normalisation, additions, pooling, projections, copies, and what torch takes to launch it all.
Prints medians over the rounds, and how fast a matrix product runs in them. Writes nothing.
"""

import platform
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from atcore.images.pixels import to_pixels
from atcore.training.run import Training
from benchmarks.attacks import TYPES, arguments, asked, in_turn, product, rate

_CPU = torch.device("cpu")
Call = Callable[[], object]


@dataclass(frozen=True)
class _Convolution:
    """One of a network, and an input of it."""

    module: nn.Conv2d
    x: Tensor

    @property
    def kernel(self) -> Tensor:
        kernel = self.module.weight.detach().to(self.x.dtype)
        return kernel.to(memory_format=torch.channels_last)

    @property
    def name(self) -> str:
        m = self.module
        side, size = self.x.shape[2], m.kernel_size[0]
        stride = f", stride {m.stride[0]}" if m.stride[0] > 1 else ""
        return f"{m.in_channels} to {m.out_channels}, {size} x {size}{stride}, at {side} px"

    def forward(self, kernel: Tensor) -> Tensor:
        m = self.module
        assert not isinstance(m.padding, str)
        return torch.conv2d(self.x, kernel, None, m.stride, m.padding, m.dilation, m.groups)

    def calls(self) -> dict[str, Call]:
        """What a step computes of it: `forward`, and the gradients of `input` and `kernel`."""
        m, kernel = self.module, self.kernel
        gradient = torch.randn_like(self.forward(kernel))
        how = ([0], m.stride, m.padding, m.dilation, False, [0, 0], m.groups)

        def back(*wanted: bool) -> Call:
            return lambda: torch.ops.aten.convolution_backward(
                gradient, self.x, kernel, *how, [*wanted, False]
            )

        return {
            "forward": lambda: self.forward(kernel),
            "input": back(True, False),
            "kernel": back(False, True),
        }

    @property
    def flop(self) -> int:
        """Multiplications and additions of one of these."""
        return 2 * self.forward(self.kernel).numel() * self.module.weight[0].numel()


def _convolutions(model: nn.Module, x: Tensor, dtype: torch.dtype) -> list[_Convolution]:
    """Those of a network, in the order in which it calls them."""
    found = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        found.append(_Convolution(module, inputs[0].detach().to(dtype)))

    hooks = [
        module.register_forward_hook(note)
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


def _lines(
    convolutions: dict[str, _Convolution], took: dict[tuple[str, str], float], steps: int
) -> Iterator[str]:
    parts = {"forward": "forward", "input": "gradient of the input", "kernel": "of the kernel"}
    yield f"| convolution | {' | '.join(parts.values())} |"
    yield "|---" * (1 + len(parts)) + "|"
    for name, convolution in convolutions.items():
        cells = [
            f"{1e3 * took[name, part]:.2f} ms ({1e-9 * convolution.flop / took[name, part]:.0f})"
            for part in parts
        ]
        yield f"| {convolution.name} | {' | '.join(cells)} |"
    sums = {part: sum(took[name, part] for name in convolutions) for part in parts}
    # Nobody asks an update for the gradient of the images.
    first = took[next(iter(convolutions)), "input"]
    wholes = {
        "one of the attack's passes, forward and back": (
            took["whole", "attack"] / steps,
            sums["forward"] + sums["input"],
        ),
        "the update": (took["whole", "update"], sum(sums.values()) - first),
    }
    yield "\n| | ms | convolutions alone | |\n|---|---|---|---|"
    for name, (whole, alone) in wholes.items():
        yield f"| {name} | {1e3 * whole:.2f} | {1e3 * alone:.2f} | {alone / whole:.0%} |"


def main() -> None:
    parser = arguments()
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    model, spec = asked(options)
    training = Training(spec, model, options.batch, _CPU)
    training.model.train()
    x = to_pixels(torch.randint(0, 256, (options.batch, 32, 32, 3), dtype=torch.uint8))
    y = torch.randint(0, len(model.classes), (options.batch,))
    noise = torch.randn_like(x)
    found = _convolutions(training.model, x, TYPES[training.precision])
    convolutions = {f"convolution {number}": each for number, each in enumerate(found)}
    calls: dict[tuple[str, str], Call] = {
        ("whole", "attack"): lambda: training.run("attack", options.batch, x, y, noise, 1.0),
        ("whole", "update"): lambda: training.run("step", options.batch, x, x, y, 0.0),
        ("matrix", "product"): product(training.precision),
    }
    for name, convolution in convolutions.items():
        calls |= {(name, part): call for part, call in convolution.calls().items()}
    times = in_turn(calls, options.rounds)
    took = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(
        f"{options.architecture}, batch {options.batch}, PGD-{options.steps}, "
        f"{options.threads} threads on {platform.machine()}, {training.precision}, torch "
        f"{torch.__version__}; medians of {options.rounds} rounds, in brackets GFLOP/s. A matrix "
        f"product runs at {rate(took['matrix', 'product']):.0f} GFLOP/s.\n"
    )
    print(*_lines(convolutions, took, options.steps), sep="\n")


if __name__ == "__main__":
    main()
