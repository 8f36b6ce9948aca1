"""Networks that come as a whole: programs of `torch.export`, read as modules like any other."""

import io

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from atcore.base.errors import UserError


def read(data: bytes) -> ExportedProgram:
    """The program of a file.

    Raises:
        UserError: the bytes are none.
    """
    try:
        return torch.export.load(io.BytesIO(data))
    except Exception as error:  # whatever its readers of JSON, archives and tensors stumble over
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"no program of torch.export that can be read ({reason})") from error


def module(program: ExportedProgram) -> fx.GraphModule:
    """A program as a module in eval mode, with frozen weights."""
    found = program.module(check_guards=False)
    for node in found.graph.nodes:
        # What it was recorded with may have lain otherwise in memory: a view is of one layout only.
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default
    # Copied, it has the `eval` of every module instead of one that refuses.
    plain = fx.GraphModule(found, found.graph)
    return plain.requires_grad_(False).eval()


def load(data: bytes, device: torch.device | str = "cpu") -> nn.Module:
    """The network of a program on `device`, in eval mode and with frozen weights.

    Raises:
        UserError: the bytes are no program.
    """
    network = module(read(data))
    return network.to(device).to(memory_format=torch.channels_last)
