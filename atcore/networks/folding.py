"""Batch normalisation folded into the convolutions, for attacks on a network in eval mode.

In eval mode a batch normalisation is a fixed affine map per channel, so it can be absorbed by the
convolution before it. The folded network computes the same function with about half of the memory
traffic, which is what the attack's forward and backward passes are bound by. On a CPU, wide
convolutions of it take fewer multiplications (`winograd`).
"""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn

from atcore.networks.architecture import ModelSpec
from atcore.networks.models import load
from atcore.networks.winograd import Winograd, worthwhile

_CONVOLUTIONS = (torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding)
_NORMALISATION = torch.ops.aten.batch_norm.default


def _traced(model: nn.Module) -> fx.GraphModule | None:
    """The graph of a network, or None where what it does depends on its input's values or shape."""
    if isinstance(model, fx.GraphModule):  # as programs are
        return model
    try:
        return fx.symbolic_trace(model)
    except Exception:  # whatever its code does with what stands for the images
        return None


@dataclass(frozen=True)
class _Fold:
    """A convolution and the batch normalisation after it, and the convolution that is both.

    Attributes:
        weight, bias: of the convolution.
        scale, shift, mean, variance, eps: of the normalisation.
        folded_weight, folded_bias: of the twin's convolution.
    """

    weight: Tensor
    bias: Tensor | None
    scale: Tensor
    shift: Tensor
    mean: Tensor
    variance: Tensor
    eps: float
    folded_weight: Tensor
    folded_bias: Tensor

    def refresh(self) -> None:
        scale = self.scale * torch.rsqrt(self.variance + self.eps)
        shift = -self.mean if self.bias is None else self.bias - self.mean
        self.folded_weight.copy_(self.weight * scale.view(-1, 1, 1, 1))
        self.folded_bias.copy_(self.shift + scale * shift)


def _fold_modules(twin: fx.GraphModule, live: dict[str, nn.Module]) -> Iterator[_Fold]:
    """Fold what the graph calls as modules, those that feed a normalisation and nothing else."""
    calls = Counter(node.target for node in twin.graph.nodes if node.op == "call_module")
    for bn in list(twin.graph.nodes):
        conv = bn.args[0] if bn.op == "call_module" and bn.args else None
        if not isinstance(conv, fx.Node) or conv.op != "call_module":
            continue
        normalisation, convolution = live[str(bn.target)], live[str(conv.target)]
        if (
            isinstance(normalisation, nn.BatchNorm2d)
            and isinstance(convolution, nn.Conv2d)
            and normalisation.affine
            and normalisation.running_mean is not None
            and normalisation.running_var is not None
            and len(conv.users) == calls[conv.target] == calls[bn.target] == 1
        ):
            folded = twin.get_submodule(str(conv.target))
            assert isinstance(folded, nn.Conv2d)
            folded.bias = nn.Parameter(torch.zeros_like(normalisation.bias))
            bn.replace_all_uses_with(conv)
            twin.graph.erase_node(bn)
            yield _Fold(
                convolution.weight,
                convolution.bias,
                normalisation.weight,
                normalisation.bias,
                normalisation.running_mean,
                normalisation.running_var,
                normalisation.eps,
                folded.weight,
                folded.bias,
            )


def _fold_functions(twin: fx.GraphModule, tensors: dict[str, Tensor]) -> Iterator[_Fold]:
    """Fold what the graph calls as functions of its tensors: that of a program."""
    for bn in list(twin.graph.nodes):
        conv = bn.args[0] if bn.target is _NORMALISATION else None
        if not isinstance(conv, fx.Node) or conv.target not in _CONVOLUTIONS:
            continue
        x, weight, bias, *rest = conv.args if len(conv.args) > 2 else (*conv.args, None)
        _, scale, shift, mean, variance, training, _, eps, _ = bn.args
        held = [
            tensors.get(str(node.target)) if isinstance(node, fx.Node) else None
            for node in (weight, bias, scale, shift, mean, variance)
        ]
        kernel, offset, *others = held
        statistics = [each for each in others if each is not None]
        if (
            training
            or len(conv.users) > 1
            or kernel is None
            or (offset is None) != (bias is None)
            or len(statistics) < len(others)
            # In less precision, or in several, the product of both would be rounded otherwise.
            or any(each.dtype != torch.float32 for each in held if each is not None)
        ):
            continue
        new = nn.Parameter(torch.empty_like(kernel)), nn.Parameter(torch.zeros_like(statistics[0]))
        with twin.graph.inserting_before(conv):
            nodes = []
            for part, parameter in zip(("weight", "bias"), new, strict=True):
                name = f"{conv.name}_folded_{part}"
                twin.register_parameter(name, parameter)
                nodes.append(twin.graph.get_attr(name))
        conv.args = (x, *nodes, *rest)
        bn.replace_all_uses_with(conv)
        twin.graph.erase_node(bn)
        a, b, m, v = statistics
        yield _Fold(kernel, offset, a, b, m, v, eps, *new)


def _held(twin: fx.GraphModule, node: fx.Node | None) -> nn.Parameter | None:
    """The parameter that a node of the graph stands for."""
    if node is None or node.op != "get_attr":
        return None
    module, _, name = str(node.target).rpartition(".")
    found = getattr(twin.get_submodule(module), name)
    return found if isinstance(found, nn.Parameter) else None


def _multiply_less(twin: fx.GraphModule) -> None:
    """Replace the convolutions that are faster by `winograd`, be they modules or functions."""
    for node in list(twin.graph.nodes):
        if node.op == "call_module":
            module = twin.get_submodule(str(node.target))
            if (
                type(module) is nn.Conv2d
                and module.groups == 1
                and module.padding_mode == "zeros"
                and worthwhile(module.weight, module.stride, module.padding, module.dilation)
            ):
                twin.set_submodule(str(node.target), Winograd(module.weight, module.bias))
        elif node.target in _CONVOLUTIONS:
            # What is left out at the end has these values.
            left_out = (None, (1, 1), (0, 0), (1, 1), 1)[len(node.args) - 2 :]
            given: list[Any] = [*node.args, *left_out]
            x, weight, bias, stride, padding, dilation, groups = given
            kernel, offset = _held(twin, weight), _held(twin, bias)
            if (
                kernel is not None
                and (offset is None) == (bias is None)
                and groups == 1
                and worthwhile(kernel, stride, padding, dilation)
            ):
                name = f"{node.name}_winograd"
                twin.add_submodule(name, Winograd(kernel, offset))
                with twin.graph.inserting_before(node):
                    node.replace_all_uses_with(twin.graph.call_module(name, (x,)))
                twin.graph.erase_node(node)


class FoldedTwin:
    """A frozen copy of `model` in eval mode, folded, that can follow the model's training.

    What cannot be folded, such as a batch normalisation before its convolution, stays as it is.

    Attributes:
        module: the folded network; reads the weights of the last `refresh`.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        """Fold `model`; the twin's convolutions and linear layers are kept in `dtype`.

        Those that a program calls as functions are kept as they are.
        """
        copied = copy.deepcopy(model).eval()
        twin = _traced(copied)
        live = dict(model.named_modules())
        sources: dict[str, Tensor] = {
            **dict(model.named_parameters()),
            **dict(model.named_buffers()),
        }
        self._folds: list[_Fold] = []
        if twin is not None:
            self._folds += _fold_modules(twin, live)
            self._folds += _fold_functions(twin, sources)
            for node in list(twin.graph.nodes):
                if node.op == "get_attr" and not node.users:
                    twin.graph.erase_node(node)
                elif node.op == "call_module" and type(live[node.target]) in (nn.Conv2d, nn.Linear):
                    twin.get_submodule(node.target).to(dtype)
            twin.delete_all_unused_submodules()
            if dtype == torch.float32:
                _multiply_less(twin)
            twin.recompile()
        self.module: nn.Module = (copied if twin is None else twin).requires_grad_(False)
        computed = {id(p) for fold in self._folds for p in (fold.folded_weight, fold.folded_bias)}
        self._copied = [
            (sources[name], target)
            for name, target in (*self.module.named_parameters(), *self.module.named_buffers())
            if name in sources and id(target) not in computed
        ]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the present weights and running statistics of the model."""
        for fold in self._folds:
            fold.refresh()
        for source, target in self._copied:
            target.copy_(source)
        for module in self.module.modules():
            if isinstance(module, Winograd):
                module.refresh()


@lru_cache(maxsize=2)
def load_folded(spec: ModelSpec, weights: bytes, device: str) -> nn.Module:
    """A trained network for inference and attacks; the last two asked for stay loaded."""
    return FoldedTwin(load(spec, weights, device)).module
