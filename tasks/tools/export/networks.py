"""Trained networks in formats that need nothing of this project.

All take float32 N x 3 x H x W in [0, 1], for any N, and give N x classes logits.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import Dim, export, save

from atcore.base.errors import UserError
from atcore.networks.architecture import PROGRAM
from atcore.networks.saved import Classifier

_ONNX = ("onnx", "onnxscript")


def _images(network: Classifier) -> torch.Tensor:
    """Two, as of one no program learns that there may be more."""
    return torch.zeros(2, 3, network.image_size, network.image_size)


def _description(network: Classifier) -> str:
    return json.dumps({"classes": network.classes, "image_size": network.image_size})


def to_pt2(network: Classifier, file: Path) -> None:
    """A program of `torch.export`, with class names and image size in its file `spec.json`."""
    program = export(network, (_images(network),), dynamic_shapes=({0: Dim("batch")},))
    save(program, file, extra_files={"spec.json": _description(network)})


def to_onnx(network: Classifier, file: Path) -> None:
    """ONNX from `images` to `logits`, with class names and image size in its metadata.

    Raises:
        UserError: the packages that write it are not installed.
    """
    missing = [name for name in _ONNX if find_spec(name) is None]
    if missing:
        raise UserError(f"--to: onnx needs packages: .venv/bin/pip install {' '.join(missing)}")
    program = torch.onnx.export(
        network,
        (_images(network),),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update({"spec.json": _description(network)})
    program.save(file)


def to_state_dict(network: Classifier, file: Path) -> None:
    """Weights by name, as `torch.save` writes them, and beside them what a module needs to know.

    The names are those of the architecture, whose input is normalised by `mean` and `std`.

    Raises:
        UserError: the network is a program, which has no architecture to load them into.
    """
    spec = network.spec
    if spec.architecture == PROGRAM:
        raise UserError("--to: state_dict needs an architecture, which no program has; take pt2")
    weights = network.network.get_submodule("1").state_dict()
    described = {
        "architecture": spec.architecture,
        "classes": list(spec.classes),
        "image_size": spec.image_size,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }
    torch.save({"state_dict": weights, **described}, file)


FORMATS = {"pt2": to_pt2, "onnx": to_onnx, "state_dict": to_state_dict}
