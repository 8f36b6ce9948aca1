"""What has to hold of a network before anything is computed with it."""

import torch
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.networks.folding import FoldedTwin

# What answers may differ by, as a share of the largest logit, where sums are taken in another
# order: by the size of a batch, or with batch normalisations folded.
TOLERANCE = 1e-3


def _same(found: Tensor, expected: Tensor) -> bool:
    limit = TOLERANCE * float(expected.abs().max())
    return bool((found - expected).abs().max() <= limit)


def require_sound(network: nn.Module, images: Tensor, classes: int, where: str) -> None:
    """Check that a network answers each image by itself, always alike, and has a gradient.

    Args:
        network: in eval mode.
        images: float32 N x 3 x H x W in [0, 1], a few.
        where: what a message on it begins with.

    Raises:
        UserError: it does not.
    """
    given = images.clone()
    with torch.no_grad():
        try:
            answers, again = network(given), network(given)
            alone = torch.cat([network(image[None]) for image in given])
        except (RuntimeError, IndexError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{where}: does not take {len(images)} images as well as one ({reason}); export it "
                'with dynamic_shapes=({0: Dim("batch")},), and write flatten(1) instead of '
                "squeeze()"
            ) from error
    if not torch.equal(given, images):
        raise UserError(
            f"{where}: changes the images that it is given; leave out inplace=True where it "
            "normalises them, or begin with x = x.clone()"
        )
    if answers.shape != (len(images), classes):
        raise UserError(
            f"{where}: gives {list(answers.shape)} for {len(images)} images of {classes} classes"
        )
    if alone.shape != answers.shape:
        raise UserError(
            f"{where}: gives another shape for one image than for a batch; write flatten(1) "
            "instead of squeeze()"
        )
    if not answers.isfinite().all():
        raise UserError(f"{where}: gives logits that are no numbers; look at its weights")
    if not torch.equal(answers, again):
        raise UserError(
            f"{where}: two passes over the same images differ, so something in it is random; call "
            "network.eval() before it is saved or exported, and leave out what is random by design"
        )
    if not _same(alone, answers):
        raise UserError(
            f"{where}: answers an image alone otherwise than in a batch; call network.eval() "
            "before it is exported, so that batch normalisation uses its running statistics"
        )
    if not _same(FoldedTwin(network).module(images).detach(), answers):
        raise UserError(
            f"{where}: its batch normalisations cannot be folded into its convolutions within "
            f"{TOLERANCE:g} of its largest logit; their running variances are too small"
        )
    _require_gradient(network, images, where)


def require_as_recorded(
    network: nn.Module, recorded: nn.Module, images: Tensor, where: str
) -> None:
    """Check that a program answers in the layout that it is used in as in that of its recording.

    Args:
        network: computes with channels last.
        recorded: the same, with weights that are contiguous.
        images: as of `require_sound`.
        where: what a message on it begins with.

    Raises:
        UserError: it does not.
    """
    with torch.no_grad():
        if not _same(network(images), recorded(images.contiguous())):
            raise UserError(
                f"{where}: gives other answers with the channels last in memory; it changes a view "
                "of its values in place, as v = y.view(...); v.mul_(2), so write v = v * 2"
            )


def _require_gradient(network: nn.Module, images: Tensor, where: str) -> None:
    pixels = images.clone().requires_grad_()
    remedy = (
        "attacks and salience need it; leave out what stops it, such as torch.no_grad, detach, "
        "rounding and argmax"
    )
    try:
        answers = network(pixels)
        best = answers.amax(dim=1).sum()
        (gradient,) = torch.autograd.grad(best, pixels)
    except RuntimeError as error:
        raise UserError(f"{where}: no gradient reaches the pixels; {remedy}") from error
    if not gradient.isfinite().all():
        raise UserError(f"{where}: the gradient at the pixels is no number; {remedy}")
    if not gradient.any():
        raise UserError(f"{where}: the gradient at the pixels is zero; {remedy}")
