"""Batch normalisation folded into the convolutions, for attacks on a network in eval mode.

In eval mode a batch normalisation is a fixed affine map per channel, so it can be absorbed by the
convolution before it. The folded network computes the same function with about half of the memory
traffic, which is what the attack's forward and backward passes are bound by.
"""

import copy
from functools import lru_cache

import torch
from torch import Tensor, fx, nn

from atcore.networks.architecture import ModelSpec
from atcore.networks.models import load


def _is_normalised(node: fx.Node, live: dict[str, nn.Module]) -> bool:
    """Whether a batch normalisation follows."""
    return any(
        user.op == "call_module" and isinstance(live[str(user.target)], nn.BatchNorm2d)
        for user in node.users
    )


class FoldedTwin:
    """A frozen copy of `model` in eval mode, folded, that can follow the model's training.

    Attributes:
        module: the folded network; reads the weights of the last `refresh`.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        """Fold `model`; the twin's convolutions and linear layers are kept in `dtype`."""
        twin = fx.symbolic_trace(copy.deepcopy(model).eval())
        live = dict(model.named_modules())
        self._folded: list[tuple[nn.Conv2d, nn.BatchNorm2d, nn.Conv2d]] = []
        self._copied: list[tuple[Tensor, Tensor]] = []
        for node in list(twin.graph.nodes):
            if node.op != "call_module":
                continue
            source = live[node.target]
            copied = twin.get_submodule(node.target)
            if isinstance(source, nn.BatchNorm2d):
                conv_name = node.args[0].target
                conv, twin_conv = live[conv_name], twin.get_submodule(conv_name)
                if not isinstance(conv, nn.Conv2d) or not isinstance(twin_conv, nn.Conv2d):
                    raise TypeError(f"{node.target} does not follow a convolution")
                twin_conv.bias = nn.Parameter(torch.zeros_like(source.bias))
                twin_conv.to(dtype)
                self._folded.append((conv, source, twin_conv))
                node.replace_all_uses_with(node.args[0])
                twin.graph.erase_node(node)
            elif isinstance(source, nn.Linear | nn.Conv2d) and not _is_normalised(node, live):
                copied.to(dtype)
                self._copied += list(zip(source.parameters(), copied.parameters(), strict=True))
        twin.delete_all_unused_submodules()
        twin.recompile()
        twin.requires_grad_(False)
        self.module: nn.Module = twin
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
