"""Weights by name, from files of others."""

import io
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from atcore.base.errors import UserError
from atcore.base.pickles import would_run
from atcore.base.wording import some
from atcore.foreign.files import content
from atcore.foreign.found import Normalisation
from atcore.images.pixels import Channels

_SAVE = "save the weights alone: torch.save(network.state_dict(), FILE)"
# Under which training programs keep weights. Those averaged over steps are what they evaluate.
_AVERAGED = ("model_ema", "ema_state_dict", "state_dict_ema", "ema_model", "params_ema", "ema")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params")


@dataclass(frozen=True)
class Weights:
    """Weights, and what their file says beside them.

    Attributes:
        tensors: float32 where they are floating, by name.
        normalisation: what pixels are normalised with, where the file has it.
        classes: names of the outputs, where the file has them.
        remarks: sentences on what was taken off.
    """

    tensors: dict[str, Tensor]
    normalisation: Normalisation | None = None
    classes: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()


def _unpickled(file: Path, data: bytes) -> Any:
    """What `torch.save` wrote, as far as it is tensors, numbers, strings and their containers."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise UserError(f"{file}: a TorchScript archive, which is code; {_SAVE}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of what it goes on to refuse
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickles that are refused or damaged, and what is none
        name = would_run(data)
        if name is not None:
            raise UserError(f"{file}: not loaded, as that would run {name}; {_SAVE}") from error
        reason = " ".join(str(error).split())[:150]
        raise UserError(f"{file}: no weights of torch ({reason}); {_SAVE}") from error


def channels(value: Any) -> Channels | None:
    """Three numbers, one for each channel; None where the value is something else.

    Those of a tensor are written as short as float32 allows: 0.2, not 0.20000000298.
    """
    values = value
    if isinstance(value, Tensor) and value.numel() == 3:
        values = [float(str(each)) for each in value.float().flatten().numpy()]
    numbers = isinstance(values, list | tuple) and all(isinstance(v, int | float) for v in values)
    if numbers and len(values) == 3:
        return (float(values[0]), float(values[1]), float(values[2]))
    return None


def _names(value: Any) -> tuple[str, ...] | None:
    strings = isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
    return tuple(value) if strings and value else None


def _floating(tensors: dict[str, Tensor], file: Path) -> tuple[dict[str, Tensor], str | None]:
    """Tensors in float32, as everything is computed, and the remark on that."""
    strange = [key for key, tensor in tensors.items() if tensor.is_quantized or tensor.is_complex()]
    if strange:
        kind = str(tensors[strange[0]].dtype).removeprefix("torch.")
        raise UserError(f"{file}: {strange[0]} is {kind}; save the weights in float32")
    others = {str(t.dtype) for t in tensors.values() if t.is_floating_point()} - {"torch.float32"}
    kinds = ", ".join(sorted(kind.removeprefix("torch.") for kind in others))
    remark = f"Its weights are {kinds}; they are computed with in float32." if others else None
    return {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}, remark


def _loaded(file: Path) -> Any:
    data = content(file)
    if file.suffix != ".safetensors":
        return _unpickled(file, data)
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise UserError(f"{file}: no file of safetensors, or damaged ({error})") from error


def read(file: Path) -> Weights:
    """The weights of a file, out of what training programs wrap them in.

    Raises:
        UserError: the file is damaged, would run code when it is loaded, or holds no weights.
    """
    found = _loaded(file)
    beside: dict[str, Any] = {}
    remarks: list[str] = []
    while isinstance(found, Mapping):
        inner = [k for k in (*_AVERAGED, *_WRAPPERS) if isinstance(found.get(k), Mapping)]
        if not inner:
            break
        averaged = " averaged over steps" if inner[0] in _AVERAGED else ""
        remarks.append(f"Its weights{averaged} lie under {inner[0]}.")
        beside |= found
        found = found[inner[0]]
    named = found.items() if isinstance(found, Mapping) else [(type(found).__name__, None)]
    tensors = {str(key): value.detach() for key, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(
            f"{file}: no weights in it, but {some([str(k) for k, _ in named])}; {_SAVE}"
        )
    tensors, converted = _floating(tensors, file)
    remarks += [converted] if converted else []
    mean, std = channels(beside.get("mean")), channels(beside.get("std"))
    normalisation = None if mean is None or std is None else (mean, std)
    if normalisation is not None:
        remarks.append("Its file says what pixels are normalised with.")
    return Weights(tensors, normalisation, _names(beside.get("classes")), tuple(remarks))
