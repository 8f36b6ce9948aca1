"""Programs of `torch.export` that others have recorded."""

import io
import json
import zipfile
from pathlib import Path

import torch
from torch.export import ExportedProgram

from atcore.base.errors import UserError
from atcore.foreign.files import content
from atcore.foreign.found import Found
from atcore.foreign.given import Given
from atcore.networks import programs

_EXPORT = (
    "torch.export.export(network.eval(), (torch.zeros(2, 3, S, S),), "
    'dynamic_shapes=({0: torch.export.Dim("batch")},))'
)


def _classes(data: bytes) -> tuple[str, ...] | None:
    """Those that this project's export writes beside a program."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith("/extra/spec.json"):
                try:
                    return tuple(map(str, json.loads(archive.read(name))["classes"]))
                except (ValueError, KeyError, TypeError):  # a file of the same name of others
                    return None
    return None


def _require_images(program: ExportedProgram, given: Given, file: Path, size: int) -> None:
    """Check that a program takes batches of any size of the images that it will get."""
    names = program.graph_signature.user_inputs
    if len(names) != 1:
        raise UserError(f"{file}: takes {len(names)} inputs, not images alone; export {_EXPORT}")
    (node,) = (n for n in program.graph.nodes if n.op == "placeholder" and n.name == names[0])
    images = node.meta["val"]
    if not isinstance(images, torch.Tensor) or images.dim() != 4 or images.shape[1] != 3:
        raise UserError(f"{file}: takes no images, N x 3 x S x S; export {_EXPORT}")
    if images.dtype != torch.float32:
        kind = str(images.dtype).removeprefix("torch.")
        raise UserError(f"{file}: takes {kind}; export network.float() with images of float32")
    count, _, *sides = images.shape
    if isinstance(count, int):
        raise UserError(f"{file}: takes batches of {count} only; export {_EXPORT}")
    if any(isinstance(side, int) and side != size for side in sides):
        key = f"network.{given.name}.input_size"
        theirs = " x ".join(map(str, sides))
        square = f"input_size: {sides[0]} has them resized inside it"
        hint = square if sides[0] == sides[1] else "export it for squares"
        raise UserError(f"{key}: {file.name} takes images of {theirs} px, not of {size}; {hint}")


def read_program(given: Given, file: Path, image_size: int) -> Found:
    """The program of a file.

    Raises:
        UserError: the file is damaged, would run code when it is read, or takes no images of the
            size that it gets.
    """
    data = content(file)
    try:
        program = programs.read(data)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    size = given.input_size or image_size
    _require_images(program, given, file, size)
    return Found(
        programs.module(program),
        "torch.export program",
        size,
        None,
        _classes(data),
        (),
        program=data,
    )
