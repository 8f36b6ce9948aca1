"""Networks that come as a whole: programs of `torch.export`, read as modules like any other."""

import io

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.passes import move_to_device_pass

from atcore.base.errors import UserError
from atcore.networks.vetting import require_plain


def read(data: bytes) -> ExportedProgram:
    """The program of a file, on the CPU wherever it was recorded.

    Raises:
        UserError: the bytes are none, one of another version of torch, or one that runs code when
            it is read.
    """
    require_plain(data)
    try:
        return move_to_device_pass(torch.export.load(io.BytesIO(data)), "cpu")
    except Exception as error:  # whatever a version of torch stumbles over in a file of another
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"no program that torch {torch.__version__} can read here ({reason}); export it again "
            "with this version, from a network on the CPU"
        ) from error


def module(program: ExportedProgram) -> fx.GraphModule:
    """A program as a module, with frozen weights."""
    found = program.module(check_guards=False)
    for part in found.modules():  # such as what it does under torch.no_grad
        if isinstance(part, fx.GraphModule):
            for node in part.graph.nodes:
                # Views are of one layout in memory, here there are others than it was recorded in.
                if node.target is torch.ops.aten.view.default:
                    node.target = torch.ops.aten.reshape.default
            part.recompile()
    # Anew, as what `program.module` gives refuses `eval`, which is no matter to a recorded program.
    return fx.GraphModule(found, found.graph).requires_grad_(False).eval()


def write(network: nn.Module, image_size: int) -> bytes:
    """Record a network in eval mode, as a program of batches of any size.

    Equal networks give equal bytes; no names of source files are in them.

    Raises:
        Exception: whatever torch cannot record of the network.
    """
    images = torch.zeros(2, 3, image_size, image_size)  # of one, none learns that there may be more
    # The attention that is faster without gradients has none.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        program = export(network, (images,), dynamic_shapes=({0: Dim("batch")},))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack"):
            node.meta.pop(key, None)
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def load(data: bytes, device: torch.device | str = "cpu") -> nn.Module:
    """The network of a program on `device`, in eval mode and with frozen weights.

    Raises:
        UserError: see `read`.
    """
    # Also the tensors that it makes itself.
    program = move_to_device_pass(read(data), torch.device(device))
    return module(program).to(memory_format=torch.channels_last)
