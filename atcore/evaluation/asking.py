"""What a trained network answers, on clean images, on variants and under attack."""

import numpy as np
import torch
from torch import nn

from atcore.attacks.auto_attack import AutoAttack
from atcore.attacks.pgd import PGD
from atcore.base.errors import UserError
from atcore.base.rng import start_noise, stream_key
from atcore.evaluation.predictions import TOP, Predictions
from atcore.images.pixels import to_pixels
from atcore.images.table import ImageTable


def predict(
    model: nn.Module,
    table: ImageTable,
    *,
    variant: str,
    level: float,
    attack: PGD | AutoAttack | None,
    seed: int,
    device: str,
) -> Predictions:
    """The network's answers on one shard of images.

    Args:
        model: maps N x 3 x H x W in [0, 1] to logits; on `device`, frozen, in eval mode.
        table: the images; all of them are one batch.
        variant, level: what the images are; noted in the result.
        attack: perturbs the images first, as strongly as it can; None leaves them as they are.

    Raises:
        UserError: a logit is no number, so that there is no answer.
    """
    x = to_pixels(torch.from_numpy(table.images.copy()).to(device))
    if attack is not None:
        y = torch.from_numpy(table.labels.astype(np.int64)).to(device)
        purpose = f"evaluate/{variant}/{level:g}"
        if isinstance(attack, AutoAttack):
            x = attack.perturb(model, x, y, stream_key(seed, purpose, int(table.ids[0])) % 2**63)
        else:
            shape = tuple(attack.threat.zero(x).shape[1:])
            noise = torch.from_numpy(start_noise(shape, table.ids, purpose, seed))
            x = attack.until_fooled(model, x, y, noise.to(device))
    with torch.no_grad():
        probabilities = model(x).softmax(dim=1)
    lost = (~probabilities.isfinite().all(1)).nonzero()
    if len(lost):
        raise UserError(
            f"{variant}, level {level:g}: the network gives image {table.ids[int(lost[0])]} logits "
            "that are no numbers; look at what it divides by, or leave the variant out"
        )
    top = probabilities.topk(min(TOP, probabilities.shape[1]), dim=1)
    missing = ((0, 0), (0, TOP - top.indices.shape[1]))
    return Predictions(
        variant=variant,
        level=level,
        ids=table.ids,
        labels=table.labels,
        top3=np.pad(top.indices.cpu().numpy().astype(np.int32), missing, constant_values=-1),
        probabilities=np.pad(top.values.cpu().numpy(), missing),
        texture_labels=table.texture_labels,
    )
