"""An encoder of AdaIN out of a network that was trained here: no other weights are needed."""

import torch
from torch import nn

from atcore.base.errors import UserError
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import FoldedTwin
from atcore.networks.models import load
from atcore.networks.vgg import CONVOLUTIONS, NARROW
from atcore.stylizing.encoder import Encoder


def encoder_of(spec: ModelSpec, weights: bytes) -> Encoder:
    """The encoder that a trained network of architecture `vgg` begins with, frozen, on the CPU.

    Raises:
        UserError: the network is of another architecture, or the weights do not fit it.
    """
    if spec.architecture != "vgg":
        raise UserError(
            f"a network of architecture {spec.architecture!r} has no encoder in it; "
            "train one with training.architecture: vgg"
        )
    folded = FoldedTwin(load(spec, weights)).module
    convolutions = [module for module in folded.modules() if isinstance(module, nn.Conv2d)]
    encoder = Encoder(NARROW)
    own = {}
    for index, layer in zip(CONVOLUTIONS, convolutions, strict=False):
        assert layer.bias is not None
        weight, bias = layer.weight, layer.bias
        if index == 0:
            # The network expects pixels that are normalised otherwise.
            mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
            shift = weight * (encoder.mean - mean) / std
            weight, bias = weight * encoder.std / std, bias + shift.sum((1, 2, 3))
        own[f"features.{index}.weight"], own[f"features.{index}.bias"] = weight, bias
    encoder.load_state_dict(own)
    return encoder.requires_grad_(False).eval()
