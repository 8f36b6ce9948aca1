"""Batch normalisation folded into the convolutions, for attacks on a network in eval mode.

In eval mode a batch normalisation is a fixed affine map per channel, so it can be absorbed by the
convolution before it. The folded network computes the same function with about half of the memory
traffic, which is what the attack's forward and backward passes are bound by.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import fx, nn

from atcore.networks.architecture import ModelSpec
from atcore.networks.models import load


def _traced(model: nn.Module) -> fx.GraphModule | None:
    """The graph of a network, or None where what it does depends on its input's values or shape."""
    try:
        return fx.symbolic_trace(model)
    except Exception:  # whatever its code does with what stands for the images
        return None


def _foldable(graph: fx.Graph, live: dict[str, nn.Module]) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Convolutions that feed a batch normalisation and nothing else, each with it."""
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for bn in list(graph.nodes):
        conv = bn.args[0] if bn.op == "call_module" and bn.args else None
        if not isinstance(conv, fx.Node) or conv.op != "call_module":
            continue
        normalisation, convolution = live[str(bn.target)], live[str(conv.target)]
        if (
            isinstance(normalisation, nn.BatchNorm2d)
            and isinstance(convolution, nn.Conv2d)
            and normalisation.affine
            and normalisation.track_running_stats
            and len(conv.users) == calls[conv.target] == calls[bn.target] == 1
        ):
            yield conv, bn


class FoldedTwin:
    """A frozen copy of `model` in eval mode, folded, that can follow the model's training.

    What cannot be folded, such as a batch normalisation before its convolution, stays as it is.

    Attributes:
        module: the folded network; reads the weights of the last `refresh`.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        """Fold `model`; the twin's convolutions and linear layers are kept in `dtype`."""
        copied = copy.deepcopy(model).eval()
        twin = _traced(copied)
        live = dict(model.named_modules())
        self._folded: list[tuple[nn.Conv2d, nn.BatchNorm2d, nn.Conv2d]] = []
        if twin is not None:
            for conv, bn in _foldable(twin.graph, live):
                source, normalisation = live[str(conv.target)], live[str(bn.target)]
                folded = twin.get_submodule(str(conv.target))
                assert isinstance(source, nn.Conv2d)
                assert isinstance(normalisation, nn.BatchNorm2d)
                assert isinstance(folded, nn.Conv2d)
                folded.bias = nn.Parameter(torch.zeros_like(normalisation.bias))
                self._folded.append((source, normalisation, folded))
                bn.replace_all_uses_with(conv)
                twin.graph.erase_node(bn)
            for node in twin.graph.nodes:
                if node.op == "call_module" and type(live[node.target]) in (nn.Conv2d, nn.Linear):
                    twin.get_submodule(node.target).to(dtype)
            twin.delete_all_unused_submodules()
            twin.recompile()
        self.module: nn.Module = (copied if twin is None else twin).requires_grad_(False)
        computed = {id(p) for *_, folded in self._folded for p in folded.parameters()}
        sources = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._copied = [
            (sources[name], target)
            for name, target in (*self.module.named_parameters(), *self.module.named_buffers())
            if name in sources and id(target) not in computed
        ]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the present weights and running statistics of the model."""
        for conv, bn, twin in self._folded:
            assert bn.running_mean is not None
            assert bn.running_var is not None
            scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
            shift = -bn.running_mean if conv.bias is None else conv.bias - bn.running_mean
            twin.weight.copy_(conv.weight * scale.view(-1, 1, 1, 1))
            assert twin.bias is not None
            twin.bias.copy_(bn.bias + scale * shift)
        for source, target in self._copied:
            target.copy_(source)


@lru_cache(maxsize=2)
def load_folded(spec: ModelSpec, weights: bytes, device: str) -> nn.Module:
    """A trained network for inference and attacks; the last two asked for stay loaded."""
    return FoldedTwin(load(spec, weights, device)).module
